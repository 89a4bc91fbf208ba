"""What the benchmark of streams loads two servers with, and little else."""
