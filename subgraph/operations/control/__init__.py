"""The control loop of the process that leads: leadership, recovery, cycles, and rebalancing on request."""
