"""The parts of the chaos benchmark: a world of real processes, what is done to it, and how its sink judges it."""
