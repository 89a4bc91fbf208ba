"""Which pod should own which tile: the planner, as pure functions of the fleet's columns and a policy."""
