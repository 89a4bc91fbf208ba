"""Owns how a caller refers to a session: by exactly one of its id, its external id, its name, or any of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from subgraph.domain.errors import InvalidInput, NameAmbiguous
from subgraph.domain.naming import normal_name
from subgraph.domain.sessions import Session

CANDIDATES_MAX = 20
"""An ambiguous reference names at most so many of the sessions that it may mean."""


class RefKind(StrEnum):
    """By which of its names a session is sought."""

    ID = "id"
    EXTERNAL_ID = "externalId"
    DISPLAY_NAME = "displayName"


STEPS_OF_ANY: Sequence[RefKind] = (RefKind.ID, RefKind.EXTERNAL_ID, RefKind.DISPLAY_NAME)
"""The order in which a text that may be any of them is tried; the first step at which there is a session decides."""


@dataclass(frozen=True, slots=True)
class SessionRef:
    """A text, and as what it is tried, in this order."""

    text: str
    steps: Sequence[RefKind]


def ref_of(id: str | None, external_id: str | None, display_name: str | None, any: str | None) -> SessionRef:  # noqa: A002
    """The reference that a caller gave.

    Raises:
        InvalidInput: it is not exactly one.
    """
    given = [
        (text, steps)
        for text, steps in (
            (id, (RefKind.ID,)),
            (external_id, (RefKind.EXTERNAL_ID,)),
            (None if display_name is None else normal_name(display_name), (RefKind.DISPLAY_NAME,)),
            (any, STEPS_OF_ANY),
        )
        if text is not None
    ]
    if len(given) != 1:
        raise InvalidInput(
            f"a reference is exactly one of id, externalId, displayName and any, not {len(given)} of them", ("ref",)
        )
    return SessionRef(*given[0])


def the_one(found: Sequence[Session], text: str) -> Session | None:
    """The session that was found; None if there is none.

    Raises:
        NameAmbiguous: there are several; with their ids, so that the caller can choose.
    """
    if len(found) > 1:
        raise NameAmbiguous(text, [session.id for session in found[:CANDIDATES_MAX]], ("ref",))
    return found[0] if found else None


def own_first(found: Sequence[Session], owner_id: str) -> Sequence[Session]:
    """Of sessions that bear an external id, the caller's own, where it has one: external ids are unique per owner."""
    own = [session for session in found if session.owner_id == owner_id]
    return own or found
