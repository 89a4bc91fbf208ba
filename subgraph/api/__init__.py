"""GraphQL over HTTP and WebSocket: translation only."""
