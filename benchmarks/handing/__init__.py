"""What the benchmark of handovers is made of."""
