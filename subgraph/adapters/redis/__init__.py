"""The fleet's live state, leases and events in Redis."""
