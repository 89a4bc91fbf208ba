"""Owns RebalancePlan in GraphQL: what rebalancing would do or did, move by move, and what it cannot."""

from datetime import datetime

import strawberry

from subgraph.api.arguments import TILES_PAGE_SIZE, TILES_PAGE_SIZE_MAX, After, TilesPageSize, page_size
from subgraph.api.context import Info
from subgraph.api.scalars import Long
from subgraph.api.types.common import (
    PageInfo,
    SessionDetail,
    at_ms,
    page_info,
    to_details,
)
from subgraph.api.types.division import PlannedMerge, PlannedSplit, UnsplitTile
from subgraph.api.types.pod import Pod, load_pods
from subgraph.api.types.tile import Tile, tiles_of_rows
from subgraph.domain.errors import InvalidInput
from subgraph.domain.fleet.fleet_plan import FleetMove, FleetPlan, Outcome
from subgraph.domain.fleet.rejections import EXPLAINED_MAX, PODS_NAMED_MAX, REJECTIONS_MAX, Rejection
from subgraph.domain.ids import TileId
from subgraph.domain.ownership import AssignmentReason
from subgraph.domain.planning.reasons import UnsplitReason


@strawberry.type(description="The fleet's balance before or after a plan.")
class PlanOutcome:
    """An outcome."""

    imbalance: float = strawberry.field(description="Highest over mean utilization.")
    max_utilization: float = strawberry.field(description="The highest utilization of a pod.")
    cut_edges: int = strawberry.field(description="Pairs of neighbouring tiles that are on two different pods.")
    unassigned_tiles: int = strawberry.field(description="Tiles without an owner.")


@strawberry.type(description="One tile that a plan gives to another pod.")
class PlannedMove:
    """A planned move."""

    move: strawberry.Private[FleetMove]
    reason: AssignmentReason = strawberry.field(description="Why the tile moves.")
    load: float = strawberry.field(description="The tile's smoothed load.")
    gain: float = strawberry.field(
        description="By how much the move lowers its source's utilization above its target's."
    )

    @strawberry.field(description="Id of the tile that moves.")
    def tile_id(self) -> strawberry.ID:
        """The tile's id."""
        return strawberry.ID(self.move.tile_id)

    @strawberry.field(description="Id of the pod it leaves; null for an unowned tile.")
    def from_pod_id(self) -> strawberry.ID | None:
        """The source's id."""
        return strawberry.ID(self.move.source) if self.move.source else None

    @strawberry.field(description="Id of the pod it goes to; also of one that is only supposed.")
    def to_pod_id(self) -> strawberry.ID:
        """The target's id."""
        return strawberry.ID(self.move.target)

    @strawberry.field(description="The tile that moves; null once it is gone.")
    def tile(self, info: Info) -> Tile | None:
        """The tile."""
        return _tile(info, self.move.tile_id)

    @strawberry.field(name="from", description="The pod it leaves; null for an unowned tile.")
    def source(self, info: Info) -> Pod | None:
        """The source."""
        return load_pods(info, [self.move.source])[0] if self.move.source else None

    @strawberry.field(name="to", description="The pod it goes to; null for one that is only supposed, or forgotten.")
    def target(self, info: Info) -> Pod | None:
        """The target."""
        return load_pods(info, [self.move.target])[0]


@strawberry.type(description="A planned move in a page, with its cursor.")
class PlannedMoveEdge:
    """Relay's edge."""

    cursor: str = strawberry.field(description="Give it as `after` to continue behind this edge.")
    node: PlannedMove = strawberry.field(description="The move.")


@strawberry.type(description="A page of planned moves, in the order in which they would be made.")
class PlannedMoveConnection:
    """Relay's connection."""

    edges: list[PlannedMoveEdge] = strawberry.field(description="The moves of this page.")
    page_info: PageInfo = strawberry.field(description="Where this page lies.")
    total_count: int | None = strawberry.field(description="How many there are in all: exact, or null.")


@strawberry.type(description="Pods that cannot take a tile, all for one reason.")
class PodRejection:
    """Pods and a reason."""

    reason: str = strawberry.field(
        description=(
            "QUARANTINED (the tile must wait), LABELS (they lack some), FORBIDDEN (by an operator), PINNED_ELSEWHERE, "
            "EVACUATING, NOT_ACCEPTING, FULL_TILES or OVER_CAPACITY; of several the first."
        )
    )
    missing_labels: list[SessionDetail] = strawberry.field(description="Labels that these pods lack.")
    pod_count: int = strawberry.field(description="How many pods these are.")
    pod_ids: list[strawberry.ID] = strawberry.field(description=f"The first of them by id, at most {PODS_NAMED_MAX}.")


@strawberry.type(description="A tile no pod can take, with the reasons.")
class UnplaceableTile:
    """A tile without a place."""

    tile_id: strawberry.ID = strawberry.field(description="The tile's id.")
    reasons: list[str] = strawberry.field(
        description=(
            "Why, in short: NO_PODS (none accepts tiles), ALL_PODS_FULL, LABELS, FORBIDDEN, PINNED (its pod cannot "
            "take it), OVER_CAPACITY or QUARANTINED."
        )
    )
    rejections: list[PodRejection] = strawberry.field(
        description=(
            f"Why, for every live pod: pods of one reason together, the most pods first, at most {REJECTIONS_MAX}. "
            f"Empty beyond {EXPLAINED_MAX} different answers in one plan."
        )
    )

    @strawberry.field(description="The tile; null once it is gone.")
    def tile(self, info: Info) -> Tile | None:
        """The tile."""
        return _tile(info, TileId(str(self.tile_id)))


@strawberry.type(description="What rebalancing would do, or did: a dry run until it is given to `rebalance`.")
class RebalancePlan:
    """A plan."""

    plan: strawberry.Private[FleetPlan]
    id: strawberry.ID = strawberry.field(description="Give it to `rebalance` to apply this very plan.")
    is_hypothetical: bool = strawberry.field(description="Whether it supposes something; then it cannot be applied.")
    base_version: Long = strawberry.field(description="The fleet's version it was made for.")
    created_at: datetime = strawberry.field(description="When it was made.")
    expires_at: datetime = strawberry.field(description="Until when it can be applied.")
    skipped: str | None = strawberry.field(description="Why nothing is moved, split or merged; null if something is.")
    move_count: int = strawberry.field(description="How many tiles it gives to another pod.")
    before: PlanOutcome = strawberry.field(description="The balance before.")
    after: PlanOutcome = strawberry.field(description="The balance after.")
    churn: float = strawberry.field(description="Load it moves off pods that have too much.")
    fill_churn: float = strawberry.field(
        description="Load it moves, besides `churn`, to pods that have too little, such as new ones."
    )
    churn_lower_bound: float = strawberry.field(
        description="The least load that must move to reach the target: sum of max(0, load - target * fair share)."
    )
    compute_ms: float = strawberry.field(description="How long planning took, in milliseconds.")

    @strawberry.field(description="The moves, in the order in which they would be made.")
    def moves(self, first: TilesPageSize = TILES_PAGE_SIZE, after: After = None) -> PlannedMoveConnection:
        """The moves."""
        size = page_size(first, TILES_PAGE_SIZE, TILES_PAGE_SIZE_MAX)
        start = _position(after)
        page = list(enumerate(self.plan.moves))[start : start + size]
        cursors = [str(position) for position, _ in page]
        return PlannedMoveConnection(
            edges=[
                PlannedMoveEdge(
                    cursor=str(position),
                    node=PlannedMove(move=move, reason=move.reason, load=move.load, gain=move.gain),
                )
                for position, move in page
            ],
            page_info=page_info(cursors, start + size < len(self.plan.moves), start > 0),
            total_count=len(self.plan.moves),
        )

    @strawberry.field(description="Tiles too hot to stay whole, replaced by their H3 children; hottest first.")
    def splits(self) -> list[PlannedSplit]:
        """The splits."""
        return [PlannedSplit(split=split, load=split.load) for split in self.plan.splits]

    @strawberry.field(description="Sets of siblings from earlier splits, all cold by now; the coldest first.")
    def merges(self) -> list[PlannedMerge]:
        """The merges."""
        return [PlannedMerge(merge=merge, load=merge.load) for merge in self.plan.merges]

    @strawberry.field(description="Tiles too hot to stay whole that do not split, with the reason; hottest first.")
    def unsplit(self, first: TilesPageSize = TILES_PAGE_SIZE) -> list[UnsplitTile]:
        """Hot tiles that stay whole."""
        size = page_size(first, TILES_PAGE_SIZE, TILES_PAGE_SIZE_MAX)
        return [
            UnsplitTile(tile_id=strawberry.ID(tile_id), reason=UnsplitReason[reason])
            for tile_id, reason in self.plan.unsplit[:size]
        ]

    @strawberry.field(description="Tiles no pod can take.")
    def unplaceable(self, first: TilesPageSize = TILES_PAGE_SIZE) -> list[UnplaceableTile]:
        """The tiles without a place."""
        size = page_size(first, TILES_PAGE_SIZE, TILES_PAGE_SIZE_MAX)
        return [
            UnplaceableTile(
                tile_id=strawberry.ID(tile.tile_id),
                reasons=list(tile.reasons),
                rejections=[_rejection(one) for one in self.plan.rejections_of(tile)],
            )
            for tile in self.plan.unplaceable[:size]
        ]


def to_plan(plan: FleetPlan) -> RebalancePlan:
    """A plan as GraphQL shows it."""
    return RebalancePlan(
        plan=plan,
        id=strawberry.ID(plan.id),
        is_hypothetical=plan.is_hypothetical,
        base_version=Long(plan.base_version),
        created_at=at_ms(plan.created_at_ms),
        expires_at=at_ms(plan.expires_at_ms),
        skipped=plan.skipped,
        move_count=len(plan.moves),
        before=_outcome(plan.before),
        after=_outcome(plan.after),
        churn=plan.churn,
        fill_churn=plan.fill_churn,
        churn_lower_bound=plan.churn_lower_bound,
        compute_ms=plan.compute_ms,
    )


def _tile(info: Info, tile_id: TileId) -> Tile | None:
    row = info.context.services.view.current().tiles.row(tile_id)
    return None if row is None else tiles_of_rows(info, [row])[0]


def _rejection(rejection: Rejection) -> PodRejection:
    return PodRejection(
        reason=rejection.reason,
        missing_labels=to_details(rejection.missing_labels),
        pod_count=rejection.pod_count,
        pod_ids=[strawberry.ID(pod_id) for pod_id in rejection.pod_ids],
    )


def _outcome(outcome: Outcome) -> PlanOutcome:
    return PlanOutcome(
        imbalance=outcome.imbalance,
        max_utilization=outcome.max_utilization,
        cut_edges=outcome.cut_edges,
        unassigned_tiles=outcome.unassigned_tiles,
    )


def _position(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) < 10):
        raise InvalidInput(f"{cursor[:64]!r} is not a cursor of this list", ("after",))
    return int(cursor) + 1
