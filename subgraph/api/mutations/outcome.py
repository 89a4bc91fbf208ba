"""Owns how a mutation answers: with its payload, or with the expected failure as an item of its `errors`."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from subgraph.api.errors import to_error
from subgraph.domain.errors import SessionManagerFailure

P = TypeVar("P")


async def told(payload: Callable[..., P], act: Callable[[], Awaitable[P]]) -> P:
    """What `act` answers; an expected failure as an error of an otherwise empty payload."""
    try:
        return await act()
    except SessionManagerFailure as failure:
        return payload(errors=[to_error(failure)])
