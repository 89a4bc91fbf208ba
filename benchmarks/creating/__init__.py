"""The parts of the benchmark of durable creates."""
