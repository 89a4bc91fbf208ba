"""Owns the fingerprint of a request: what an idempotency key stands for."""

import json
from dataclasses import asdict
from hashlib import sha256
from typing import Any

from subgraph.domain.idempotency import OnceKey

IDEMPOTENCY_KEY = (
    "Idempotency key chosen by the client, at most 200 characters. Repeating the request with the same key "
    "returns the first result; a different request with it is refused. Keys are kept for 24 hours by default."
)


def once_of(given: Any) -> OnceKey:
    """The key of an input that has one. What was left out and what was given as its default is the same request."""
    if given.idempotency_key is None:
        return OnceKey()
    values = asdict(given)
    text = values.pop("idempotency_key")
    return OnceKey(text, sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest())
