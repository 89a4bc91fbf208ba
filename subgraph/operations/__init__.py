"""Load, decide, commit: the use cases, the ports they need, and the control loop."""
