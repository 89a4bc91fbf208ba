"""The journal: published, read as pages and streams, written by the server itself, and deleted by age."""
