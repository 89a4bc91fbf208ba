"""Owns how records, changes and the pulse are written in Redis: `version|JSON`, readable with any Redis client."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec

from subgraph.domain.errors import InvalidInput, Unavailable
from subgraph.domain.fleet.changes import CycleReport, FleetChange, Pause, Versioned
from subgraph.domain.fleet.fleet_plan import FleetPlan, KeyedPlan
from subgraph.domain.fleet.requirements import SessionRequirement
from subgraph.domain.ids import PodId, SessionId, TileId, parse_tile_id
from subgraph.domain.ownership import TileRecord
from subgraph.domain.pods import PodRecord
from subgraph.operations.fleet.fleet_pulse import Beat
from subgraph.operations.history.term_history import LoggedChange

_encoder = msgspec.json.Encoder()
_tile_decoder = msgspec.json.Decoder(TileRecord)
_pod_decoder = msgspec.json.Decoder(PodRecord)
_requirement_decoder = msgspec.json.Decoder(SessionRequirement)
_message_decoder = msgspec.msgpack.Decoder()
_notes_decoder = msgspec.msgpack.Decoder(tuple[str, str, list[str]])


class Unreadable(Unavailable):
    """What is stored or was published is not of this version's form; another one, or somebody else, has written it."""


def encode_record(record: TileRecord | PodRecord | SessionRequirement | None) -> bytes:
    """A record as JSON; nothing for one that is to be removed."""
    return b"" if record is None else _encoder.encode(record)


def decode_tile(stored: bytes) -> Versioned[TileRecord]:
    """A tile as stored.

    Raises:
        Unreadable: it is not of this version's form; likewise of everything that is decoded here.
    """
    with _told_as_unreadable("a tile"):
        version, _, record = stored.partition(b"|")
        return Versioned(int(version), _tile_decoder.decode(record))


def decode_pod(stored: bytes) -> Versioned[PodRecord]:
    """A pod as stored."""
    with _told_as_unreadable("a pod"):
        version, _, record = stored.partition(b"|")
        return Versioned(int(version), _pod_decoder.decode(record))


def decode_requirement(stored: bytes) -> SessionRequirement:
    """What a session requires of all its tiles, as stored."""
    with _told_as_unreadable("a session's requirement"):
        return _requirement_decoder.decode(stored.partition(b"|")[2])


def decode_message(message: bytes) -> FleetChange | CycleReport:
    """A message of the fleet's channel."""
    with _told_as_unreadable("a message about the fleet"):
        kind, *facts = _message_decoder.decode(message)
        if kind == "cycle":
            return msgspec.json.decode(facts[0], type=CycleReport)
        previous, version, tiles, pods, requirements, at_ms = facts
        return FleetChange(
            int(previous),
            int(version),
            {_tile_id(key): _tile_decoder.decode(record) if record else None for key, record in _pairs(tiles)},
            {PodId(key): _pod_decoder.decode(record) if record else None for key, record in _pairs(pods)},
            {
                SessionId(key): _requirement_decoder.decode(record) if record else None
                for key, record in _pairs(requirements)
            },
            int(at_ms),
        )


def decode_notes(fields: Mapping[bytes, bytes], entry: int) -> list[LoggedChange]:
    """An entry of the log of terms, by its number: what one change made of some tiles."""
    with _told_as_unreadable("an entry of the log of terms"):
        version, at_ms, notes = _notes_decoder.decode(fields[b"changes"])
        return [
            LoggedChange(
                int(version), int(at_ms), _tile_id(tile_id), _noted(before.partition("|")[2]), _noted(after), entry
            )
            for tile_id, before, after in zip(notes[::3], notes[1::3], notes[2::3], strict=True)
        ]


def decode_beat(answer: list[Any]) -> Beat:
    """What the pulse script returns."""
    with _told_as_unreadable("the pulse"):
        now_ms, is_adopted, incarnation, era, is_restored, published, *further = answer
        leader, cycle, leases, applied, pause, claims, unrecorded, dropped = further
        return Beat(
            now_ms=int(now_ms),
            is_adopted=bool(is_adopted),
            incarnation=int(incarnation),
            era=int(era),
            is_restored=bool(is_restored),
            published_version=int(published),
            leader=leader.decode() or None,
            leases={PodId(pod.decode()): int(float(end)) for pod, end in _pairs(leases)},
            applied={PodId(pod.decode()): int(version) for pod, version in _pairs(applied)},
            last_cycle=msgspec.json.decode(cycle, type=CycleReport) if cycle else None,
            pause=msgspec.json.decode(pause, type=Pause) if pause else None,
            pods_with_claims=int(claims),
            unrecorded_changes=int(unrecorded),
            dropped_changes=int(dropped),
        )


def decode_plan(stored: bytes) -> FleetPlan:
    """A plan that was kept."""
    with _told_as_unreadable("a plan"):
        return msgspec.msgpack.decode(stored, type=FleetPlan)


def decode_keyed_plan(stored: bytes) -> KeyedPlan:
    """A plan that is remembered for a client's key."""
    with _told_as_unreadable("a plan of a key"):
        return msgspec.msgpack.decode(stored, type=KeyedPlan)


def stream_entries(answer: Any) -> Iterator[tuple[str, dict[bytes, bytes]]]:
    """The entries of a read of one stream, whichever protocol version shaped the answer."""
    streams = answer.values() if isinstance(answer, dict) else [entries for _, entries in answer or ()]
    for entries in streams:
        # RESP3 wraps the entries of each stream in one more list.
        for entry in entries[0] if isinstance(answer, dict) and entries and isinstance(entries[0], list) else entries:
            entry_id, fields = entry
            yield entry_id.decode(), fields


@contextmanager
def _told_as_unreadable(what: str) -> Iterator[None]:
    try:
        yield
    except (msgspec.MsgspecError, InvalidInput, LookupError, TypeError, ValueError) as error:
        raise Unreadable(f"{what} cannot be read: {error}") from error


def _noted(record: str) -> TileRecord | None:
    return _tile_decoder.decode(record) if record else None


def _tile_id(text: str) -> TileId:
    parse_tile_id(text)
    return TileId(text)


def _pairs(flat: list[Any]) -> Iterator[tuple[Any, Any]]:
    return zip(flat[::2], flat[1::2], strict=True)
