"""The live fleet: its port, each process's view of it, its pods, and the feeds of its changes."""
