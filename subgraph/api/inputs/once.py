"""Owns the fingerprint of a request: what an idempotency key stands for."""

import json
from dataclasses import asdict
from hashlib import sha256
from typing import Any

from subgraph.domain.idempotency import OnceKey

IDEMPOTENCY_KEY = (
    "A text of the client's own, at most 200 characters: whoever repeats the same request with it gets what the first "
    "one made. It is remembered for a time that is a setting, 24 hours by default; with another request it is refused."
)


def once_of(given: Any) -> OnceKey:
    """The key of an input that has one. What was left out and what was given as its default is the same request."""
    if given.idempotency_key is None:
        return OnceKey()
    values = asdict(given)
    text = values.pop("idempotency_key")
    return OnceKey(text, sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest())
