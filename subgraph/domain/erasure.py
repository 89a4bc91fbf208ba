"""Owns what an owner leaves behind: how its traces are known in any text, and what stands in their place."""

import json
import re
from collections.abc import Callable, Collection, Mapping

import msgspec

from subgraph.domain.errors import InvalidInput
from subgraph.domain.event_types import PAYLOADS, Names, SessionEventType
from subgraph.domain.limits import check_length

ERASED = "(erased)"
"""Stands where an erased owner, or one of its sessions, was named. It is the same for all, so it tells of nobody."""

OWNER_ID_LENGTH_MAX = 1_000

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def check_owner_id(owner_id: str) -> None:
    """Refuse what cannot be anybody's id.

    Raises:
        InvalidInput: naming the limit.
    """
    check_length("ownerId", len(owner_id), OWNER_ID_LENGTH_MAX, ("ownerId",))
    if owner_id == ERASED:
        raise InvalidInput(f"{ERASED!r} is what erased owners are called: nobody is left to erase", ("ownerId",))


class Traces:
    """What tells of an owner: the ids of its sessions wherever they stand, its own id where it is a whole text.

    A whole text is a value of its own, or a string within JSON or MessagePack. An id that is part of a sentence is not
    looked for: short ones would be found in everything.
    """

    def __init__(self, owner_id: str, session_ids: Collection[str]) -> None:
        self.owner_id = owner_id
        self.session_ids = frozenset(session_ids)
        self._odd_ids = tuple(one for one in self.session_ids if not _UUID.fullmatch(one))
        self._in_json = json.dumps(owner_id, ensure_ascii=False)
        self._in_bytes = (self._in_json.encode(), msgspec.msgpack.encode(owner_id))

    def of_sessions(self, text: str) -> bool:
        """Whether a text names one of the sessions."""
        # One pass over the text, however many sessions there are.
        return any(found in self.session_ids for found in _UUID.findall(text)) or any(
            one in text for one in self._odd_ids
        )

    def of_owner(self, text: str) -> bool:
        """Whether a text is the owner's id, or holds it as a string of its JSON."""
        return text == self.owner_id or self._in_json in text

    def in_texts(self, texts: Collection[str], *, owner_counts: bool) -> bool:
        """Whether one of some texts names a session, or, if that counts, the owner."""
        # All at once: what is sought begins and ends within one of them.
        joined = "\n".join(texts)
        is_owners = owner_counts and (self.owner_id in texts or self._in_json in joined)
        return is_owners or self.of_sessions(joined)

    def of_owner_in_bytes(self, stored: bytes) -> bool:
        """Whether bytes are the owner's id, or hold it as a string of JSON or MessagePack."""
        return stored == self.owner_id.encode() or any(one in stored for one in self._in_bytes)

    def erased_from(self, text: str) -> str:
        """A text with `ERASED` in the place of every trace."""
        return self._erased_from_value(text).replace(self._in_json, json.dumps(ERASED))

    def erased_from_payload(self, event_type: str, payload: Mapping[str, object]) -> dict[str, object]:
        """The payload of an event of somebody else's with `ERASED` in the place of every trace.

        Values alone are replaced, and only of fields that can name somebody. Where it is not known whether a field can,
        because a later version writes it, it is taken to.
        """
        told = SessionEventType.__members__.get(event_type)
        known = PAYLOADS.get(told, {}) if told is not None else {}
        erase: dict[Names, Callable[[str], str]] = {
            Names.NOBODY: str,
            Names.SESSIONS: self._sessions_erased_from,
            Names.ANYBODY: self._erased_from_value,
        }
        return {name: _mapped(value, erase[known.get(name, Names.ANYBODY)]) for name, value in payload.items()}

    def _erased_from_value(self, text: str) -> str:
        return ERASED if text == self.owner_id else self._sessions_erased_from(text)

    def _sessions_erased_from(self, text: str) -> str:
        text = _UUID.sub(lambda found: ERASED if found[0] in self.session_ids else found[0], text)
        for one in self._odd_ids:
            text = text.replace(one, ERASED)
        return text


def _mapped(value: object, change: Callable[[str], str]) -> object:
    """A value of JSON in which every text, but for keys, has been changed."""
    match value:
        case str():
            return change(value)
        case list():
            return [_mapped(one, change) for one in value]
        case dict():
            return {key: _mapped(one, change) for key, one in value.items()}
        case _:
            return value
