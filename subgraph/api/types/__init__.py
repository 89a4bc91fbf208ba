"""The GraphQL types: what each field means, and how it is read from the domain's values."""
