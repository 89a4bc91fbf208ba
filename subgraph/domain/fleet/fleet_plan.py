"""Owns a plan by names: what is to move, split and merge, as it is kept, shown and carried out."""

from collections.abc import Sequence

import msgspec

from subgraph.domain.fleet.planned_divisions import FleetMerge, FleetSplit
from subgraph.domain.fleet.rejections import Rejection
from subgraph.domain.ids import PodId, TileId
from subgraph.domain.ownership import AssignmentReason

PLAN_LIFETIME_MS = 60_000


class Outcome(msgspec.Struct, frozen=True, array_like=True):
    """The fleet's balance before or after a plan."""

    imbalance: float
    max_utilization: float
    unassigned_tiles: int
    cut_edges: int = 0  # pairs of neighbouring tiles on two different pods


class FleetMove(msgspec.Struct, frozen=True, array_like=True):
    """One tile that goes to another pod. `tile_version` and `target_version`: what the move was decided on."""

    tile_id: TileId
    source: PodId | None
    target: PodId
    reason: AssignmentReason
    load: float
    gain: float
    tile_version: int
    target_version: int


class Unplaceable(msgspec.Struct, frozen=True, array_like=True):
    """A tile that no pod can have, and what kinds of reason there are. `answer`: of the plan's rejections, if known."""

    tile_id: TileId
    reasons: tuple[str, ...]
    answer: int | None = None


class FleetPlan(msgspec.Struct, frozen=True, array_like=True):
    """A plan by names, as it is stored, shown and applied. Times are Redis time, milliseconds; `churn` is load.

    `unsplit`: tiles too hot to stay whole that do not split, with the reason.
    """

    id: str
    base_version: int
    created_at_ms: int
    expires_at_ms: int
    moves: Sequence[FleetMove]
    unplaceable: Sequence[Unplaceable]
    skipped: str | None
    before: Outcome
    after: Outcome
    churn: float
    churn_lower_bound: float
    compute_ms: float
    is_hypothetical: bool = False
    rejections: tuple[tuple[Rejection, ...], ...] = ()
    """Why pods cannot have the unplaceable tiles: tiles with the same answer share it."""
    splits: tuple[FleetSplit, ...] = ()
    merges: tuple[FleetMerge, ...] = ()
    unsplit: tuple[tuple[TileId, str], ...] = ()
    fill_churn: float = 0.0

    def rejections_of(self, tile: Unplaceable) -> Sequence[Rejection]:
        """Why pods cannot have an unplaceable tile of this plan; nothing where that is not known."""
        return () if tile.answer is None else self.rejections[tile.answer]


class KeyedPlan(msgspec.Struct, frozen=True, array_like=True):
    """A plan as it is remembered for a client's key. `fingerprint`: what was asked; `is_done`: it is carried out."""

    fingerprint: str
    plan: FleetPlan
    is_done: bool = False


def plan_by_hand(
    plan_id: str,
    base_version: int,
    now_ms: int,
    *,
    moves: Sequence[FleetMove] = (),
    splits: tuple[FleetSplit, ...] = (),
    merges: tuple[FleetMerge, ...] = (),
) -> FleetPlan:
    """A plan of what somebody wants done; it claims nothing about balance."""
    unknown = Outcome(imbalance=1.0, max_utilization=0.0, unassigned_tiles=0)
    return FleetPlan(
        id=plan_id,
        base_version=base_version,
        created_at_ms=now_ms,
        expires_at_ms=now_ms + PLAN_LIFETIME_MS,
        moves=moves,
        unplaceable=[],
        skipped=None,
        before=unknown,
        after=unknown,
        churn=sum(move.load for move in moves),
        churn_lower_bound=0.0,
        compute_ms=0.0,
        splits=splits,
        merges=merges,
    )
