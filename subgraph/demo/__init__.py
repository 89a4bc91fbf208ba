"""The live world: a real day of flights on a fleet of real processes."""
