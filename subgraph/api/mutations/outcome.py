"""Owns how a mutation answers: with its payload, or with the expected failure as an item of its `errors`."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from subgraph.api.errors import to_error
from subgraph.domain.errors import SessionManagerFailure

P = TypeVar("P")


async def told(payload: Callable[..., P], act: Callable[[], Awaitable[P]], named: Mapping[str, str] | None = None) -> P:
    """What `act` answers; an expected failure as an error of an otherwise empty payload.

    Args:
        payload: makes the payload of its fields.
        act: carries the mutation out.
        named: what the input calls by another name than operations do, by their name: so the error's path names it.
    """
    try:
        return await act()
    except SessionManagerFailure as failure:
        if named is not None and failure.path and failure.path[0] in named:
            failure.path = (named[failure.path[0]], *failure.path[1:])
        return payload(errors=[to_error(failure)])
