"""Owns the smallest world in which ownership can go wrong: two leaders, two pods, two tiles, one store, coarse time.

It is a value, and now is always 0 in it: as time passes, all times in it become earlier. Store and rules are the
scripts' twin and the domain's functions; the rest is as much of operations and client as lies between two awaits.
"""

from collections.abc import Mapping
from dataclasses import replace as replace_in_dataclass
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from subgraph.domain.fleet.changes import Versioned
from subgraph.domain.ids import PodId, TileId
from subgraph.domain.ownership import Term, TileRecord
from subgraph.operations.fleet.fleet_writes import Leadership, PodLease, TileWrite
from tests.support.store_twin import Stored, StoreTwin

LEASE = 3
"""Of pods, in units of time."""
SLOWNESS = 1
"""By how much a pod's clock may be late at the end of a lease: all that the margin is there for."""
LEADER_LEASE = 2
PHASE = 2
"""What a phase of a handoff may take."""
LONG_AGO = -1 - max(LEASE, PHASE)


class Ack(NamedTuple):
    """A pod's word on its way: it may take long, arrive twice, or never."""

    pod_id: PodId
    token: str
    tile_id: TileId
    epoch: int
    phase: str

    def __str__(self) -> str:
        return f"{self.pod_id} {self.phase} of {self.tile_id} at {self.epoch}"


class Told(NamedTuple):
    """A pod's term as it was when it was told."""

    tile_id: TileId
    epoch: int
    state: str


class Leader(msgspec.Struct, frozen=True, array_like=True):
    """A process that leads or would like to.

    `ended`: pods whose leases it saw to have ended, with the versions of their records; `decided`: what it is about to
    commit.
    """

    name: str
    raised: int | None = None
    term: Leadership | None = None
    grace_ends: int = LONG_AGO
    ended: tuple[tuple[PodId, int], ...] = ()
    decided: tuple[TileWrite, ...] | None = None


class Pod(msgspec.Struct, frozen=True, array_like=True):
    """A pod's process as it sees itself. `asked_at`: when it asked to be registered; `told`: terms on their way."""

    id: PodId
    instance: int = 1
    token: str | None = None
    tokens_used: int = 0
    asked_at: int | None = None
    works_until: int = LONG_AGO
    owned: Mapping[TileId, int] = msgspec.field(default_factory=dict)
    preparing: frozenset[tuple[TileId, int]] = frozenset()
    prepared: frozenset[tuple[TileId, int]] = frozenset()
    told: tuple[Told, ...] | None = None

    @property
    def lease(self) -> PodLease:
        """What it proves itself with."""
        return PodLease(self.id, self.token or "")

    @property
    def name(self) -> str:
        """The process."""
        return f"{self.id}#{self.instance}"

    def works_on(self, tile_id: TileId) -> int | None:
        """The epoch at which it would work on a tile now."""
        return self.owned.get(tile_id) if self.works_until > 0 else None


class SmallWorld(msgspec.Struct, frozen=True, array_like=True):
    """Everything at one moment.

    `users`: who was told which epoch of a tile; `ready`: epochs somebody was ready for; `in_force`: that ever were so.
    """

    stored: Stored
    register: int
    leaders: tuple[Leader, ...]
    pods: tuple[Pod, ...]
    acks: frozenset[Ack] = frozenset()
    users: frozenset[tuple[TileId, int, str]] = frozenset()
    ready: frozenset[tuple[TileId, int]] = frozenset()
    in_force: frozenset[tuple[TileId, int]] = frozenset()

    def store(self) -> StoreTwin:
        """A store to change, as it is now."""
        twin = StoreTwin(lambda: 0)
        twin.stored = self.stored.copy()
        return twin

    def key(self) -> bytes:
        """All of it, as bytes."""
        stored = self.stored
        return _encoder.encode(
            (
                [(tile_id, one.version, one.record) for tile_id, one in sorted(stored.tiles.items())],
                [(pod_id, one.version, one.record) for pod_id, one in sorted(stored.pods.items())],
                (sorted(stored.tokens.items()), sorted(stored.leases.items())),
                (stored.incarnation, stored.counter, self.register, stored.leader),
                (self.leaders, self.pods),
                (sorted(self.acks), sorted(self.users), sorted(self.ready), sorted(self.in_force)),
            )
        )

    def later(self) -> "SmallWorld":
        """After one unit of time in which nothing else happens."""
        stored = self.stored.copy()
        stored.tiles = {
            one: Versioned(found.version, _record_later(found.record)) for one, found in stored.tiles.items()
        }
        stored.leases = {pod_id: _earlier(ends) for pod_id, ends in stored.leases.items()}
        if stored.leader is not None:
            ends = stored.leader.ends_at_ms - 1
            stored.leader = replace_in_dataclass(stored.leader, ends_at_ms=ends) if ends > 0 else None
        leaders = tuple(replace(one, grace_ends=_earlier(one.grace_ends), decided=_later(one)) for one in self.leaders)
        pods = tuple(
            replace(
                one,
                works_until=_earlier(one.works_until),
                asked_at=None if one.asked_at is None else _earlier(one.asked_at),
            )
            for one in self.pods
        )
        return replace(self, stored=stored, leaders=leaders, pods=pods)


def _later(leader: Leader) -> tuple[TileWrite, ...] | None:
    if leader.decided is None:
        return None
    return tuple(replace_in_dataclass(one, record=one.record and _record_later(one.record)) for one in leader.decided)


def _record_later(record: TileRecord) -> TileRecord:
    return replace(
        record, owner=_term_later(record.owner), next=_term_later(record.next), draining=_term_later(record.draining)
    )


def _term_later(term: Term | None) -> Term | None:
    if term is None:
        return None
    return replace(
        term,
        assigned_at_ms=_earlier(term.assigned_at_ms),
        acknowledged_at_ms=None if term.acknowledged_at_ms is None else LONG_AGO,
        draining_since_ms=None if term.draining_since_ms is None else _earlier(term.draining_since_ms),
    )


def _earlier(time: int) -> int:
    return max(LONG_AGO, time - 1)


_encoder = msgspec.msgpack.Encoder()
