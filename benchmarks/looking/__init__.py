"""What the benchmark of lookups is made of."""
