"""What tests of several kinds need: servers as real processes, and a small GraphQL client for them."""
