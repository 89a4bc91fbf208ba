"""Rules as functions of values: synchronous, without I/O, clock or framework."""
