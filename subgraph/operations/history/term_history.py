"""Owns the promises about the history of ownership: the log in which changes wait, and where terms are kept for good.

The log is the live store's: a change and its entry are committed in one step, so no crash comes between them. An entry
is forgotten once SQL has what it says; whatever is recorded twice says the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from subgraph.domain.fleet.terms import TermFacts, changed_terms
from subgraph.domain.ids import PodId, SessionId, TenantId, TileId
from subgraph.domain.ownership import AssignmentReason, AssignmentState, TileRecord, terms_of
from subgraph.operations.ports import Page

TERMS_PER_WRITE_MAX = 1_000
"""Terms in one transaction: other writers of the database wait no longer than these take."""


@dataclass(frozen=True, slots=True)
class LoggedChange:
    """What one change made of one tile, and when (Redis time, milliseconds).

    `entry` is the number of the log's entry that says so; an emptied store counts anew, but in higher versions.
    """

    version: int
    at_ms: int
    tile_id: TileId
    before: TileRecord | None
    after: TileRecord | None
    entry: int = field(default=0, compare=False)

    def facts(self) -> list[TermFacts]:
        """What it says of the tile's terms that became other."""
        record = self.after or self.before
        if record is None:
            return []
        known = terms_of(self.before) if self.before else []
        changed = changed_terms(self.tile_id, known, self.after, self.at_ms)
        return [TermFacts(change, record.tenant_id, self.version) for change in changed]


def facts_of(changes: Sequence[LoggedChange]) -> list[TermFacts]:
    """What changes say of terms, one after the other."""
    return [fact for change in changes for fact in change.facts()]


@dataclass(frozen=True, slots=True)
class LoggedStretch:
    """The oldest part of the log, some thousand changes at most. `end` tells where it ends; None: the log is empty."""

    changes: tuple[LoggedChange, ...]
    end: int | None
    has_more: bool


class TermLog(Protocol):
    """Changes of tiles with terms, in the order they were committed. Raises Unavailable when it does not answer."""

    async def read(self) -> LoggedStretch:
        """The oldest changes that are not forgotten. An entry that is malformed is passed over, and before `end`."""
        ...

    async def forget(self, end: int) -> None:
        """Forget everything up to the end of a stretch. Twice is harmless."""
        ...


@dataclass(frozen=True, slots=True)
class TermFilter:
    """Which terms: those of a tenant's session, of a pod, given from `since_ms` on and before `until_ms`; all apply."""

    tenant_id: TenantId | None = None
    session_id: SessionId | None = None
    pod_id: PodId | None = None
    since_ms: int | None = None
    until_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Churn:
    """How many tiles were given to a pod for a reason, and the load that came with them."""

    reason: AssignmentReason
    moves: int
    load_moved: float


class TermHistory(Protocol):
    """The terms of a fleet's tiles, living and ended, in SQL. Raises Unavailable when it does not answer.

    An epoch names one term in a fleet. Newest first means by epoch, or by the time it was given and then by epoch.
    """

    async def record(self, facts: Sequence[TermFacts]) -> None:
        """Write what is known of terms. What is recorded of a later version stays."""
        ...

    async def living_epochs(self, after_epoch: int, epochs_max: int) -> list[tuple[int, AssignmentState]]:
        """Epochs above one whose end is not recorded, in rising order, with the states recorded."""
        ...

    async def end_vanished(self, epochs: Sequence[int], at_ms: int) -> int:
        """End terms nothing is left of: LOST, or ABORTED if not in force yet. Those that have ended stay as they are.

        The version of a term stays too: what the log may still say of it counts for more.

        Returns:
            How many were ended.
        """
        ...

    async def terms(self, epochs: Sequence[int]) -> dict[int, TermFacts]:
        """The terms of some epochs; those that are not recorded are not in the answer."""
        ...

    async def page(self, wanted: TermFilter, first: int, after: str | None) -> Page[TermFacts]:
        """Terms, newest first, by keyset; `total_count` is None.

        Raises:
            InvalidInput: `after` is not a cursor of this list.
        """
        ...

    async def pages_of_tiles(
        self, tile_ids: Sequence[TileId], first: int, after: str | None
    ) -> dict[TileId, Page[TermFacts]]:
        """The terms of each of some tiles, newest first, by keyset; `total_count` is None.

        Raises:
            InvalidInput: `after` is not a cursor of this list.
        """
        ...

    async def churn(self, since_ms: int) -> list[Churn]:
        """Terms given from a time on that came into force, by reason; reasons without any are left out."""
        ...

    async def sweep(self, ended_before_ms: int, terms_max: int) -> int:
        """Delete terms that ended before a time, the oldest first, at most so many. Returns how many it deleted."""
        ...
