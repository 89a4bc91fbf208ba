"""Owns how a change of the fleet is described: the versions it links, and the records it leaves behind."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import msgspec

from subgraph.domain.fleet.requirements import SessionRequirement
from subgraph.domain.ids import PodId, SessionId, TileId
from subgraph.domain.ownership import TileRecord
from subgraph.domain.pods import PodRecord

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FleetChange:
    """One committed change. It follows the change of version `previous`; None in place of a record: it is gone."""

    previous: int
    version: int
    tiles: Mapping[TileId, TileRecord | None] = field(default_factory=dict)
    pods: Mapping[PodId, PodRecord | None] = field(default_factory=dict)
    requirements: Mapping[SessionId, SessionRequirement | None] = field(default_factory=dict)
    at_ms: int = field(default=0, compare=False)
    """When it was committed (Redis time)."""


@dataclass(frozen=True, slots=True)
class Versioned(Generic[T]):
    """A record and the version of the change that wrote it: what a later commit compares."""

    version: int
    record: T


class CycleReport(msgspec.Struct, frozen=True, array_like=True):
    """What the leader tells of a control cycle. Times are Redis time, milliseconds.

    `skip`: why the last plan moved nothing.
    """

    number: int
    leader: str
    at_ms: int
    duration_ms: float
    skip: str | None = None


class Pause(msgspec.Struct, frozen=True, array_like=True):
    """Rebalancing rests until a moment (Redis time, milliseconds), by whose will and why."""

    until_ms: int
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class FleetSnapshot:
    """All of the fleet at or after `version`: changes up to it are in, later ones may be in already.

    `era`: the incarnation that began after the store last forgot writes. `read_until`: the newest version when all had
    been read: with the changes up to there, and not before, all is as of one moment.
    """

    version: int
    tiles: Mapping[TileId, Versioned[TileRecord]]
    pods: Mapping[PodId, Versioned[PodRecord]]
    requirements: Mapping[SessionId, SessionRequirement] = field(default_factory=dict)
    era: int = 0
    read_until: int = 0
