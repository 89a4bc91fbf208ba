"""The live fleet: its port, the picture that every process keeps of it, its pods, and who is told what of it."""
