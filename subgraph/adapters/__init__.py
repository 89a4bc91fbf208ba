"""The ports' real implementations: SQL, Redis, embedded servers."""
