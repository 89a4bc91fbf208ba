"""The journal: announced, read as pages and streams, told of by itself, and forgotten after its retention."""
