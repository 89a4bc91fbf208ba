"""The parts of the cycle's benchmark: the pods of a large fleet in a process of their own, and what leads them."""
