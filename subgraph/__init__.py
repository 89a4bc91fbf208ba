"""The session manager: a federated GraphQL subgraph for sessions, tiles and the pods that own them."""

__version__ = "0.1.0"
