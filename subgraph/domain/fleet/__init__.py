"""The picture every process keeps of the fleet: pods and tiles as columns, fed by a snapshot and ordered changes."""
