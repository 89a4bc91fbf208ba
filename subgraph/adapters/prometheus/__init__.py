"""What a process tells of itself to Prometheus."""
