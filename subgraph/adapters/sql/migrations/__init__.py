"""The steps that bring a database from any released shape to this version's."""
