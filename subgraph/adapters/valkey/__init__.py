"""The embedded Valkey: its process, who keeps it running, and what a former one has left."""
