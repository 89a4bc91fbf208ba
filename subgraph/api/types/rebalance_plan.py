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

    imbalance: float = strawberry.field(description="Highest / mean utilization of pods; 1 is perfect balance.")
    max_utilization: float = strawberry.field(description="Highest utilization of a pod.")
    cut_edges: int = strawberry.field(description="Number of pairs of neighbouring tiles that are on different pods.")
    unassigned_tiles: int = strawberry.field(description="Number of tiles without an owner.")


@strawberry.type(description="A tile that a plan assigns to another pod.")
class PlannedMove:
    """A planned move."""

    move: strawberry.Private[FleetMove]
    reason: AssignmentReason = strawberry.field(description="Why the tile is moved.")
    load: float = strawberry.field(description="The tile's smoothed load.")
    gain: float = strawberry.field(
        description=(
            "By how much the move lowers the higher utilization of its two pods; 0 if it is not made for balance."
        )
    )

    @strawberry.field(description="Id of the tile that is moved.")
    def tile_id(self) -> strawberry.ID:
        """The tile's id."""
        return strawberry.ID(self.move.tile_id)

    @strawberry.field(description="Id of the current owner; null if the tile has none.")
    def from_pod_id(self) -> strawberry.ID | None:
        """The source's id."""
        return strawberry.ID(self.move.source) if self.move.source else None

    @strawberry.field(description="Id of the next owner, which may be a hypothetical pod.")
    def to_pod_id(self) -> strawberry.ID:
        """The target's id."""
        return strawberry.ID(self.move.target)

    @strawberry.field(description="The tile that is moved; null once it has been removed.")
    def tile(self, info: Info) -> Tile | None:
        """The tile."""
        return _tile(info, self.move.tile_id)

    @strawberry.field(name="from", description="The current owner; null if the tile has none.")
    def source(self, info: Info) -> Pod | None:
        """The source."""
        return load_pods(info, [self.move.source])[0] if self.move.source else None

    @strawberry.field(
        name="to", description="The next owner; null if it is hypothetical, or its record has been removed."
    )
    def target(self, info: Info) -> Pod | None:
        """The target."""
        return load_pods(info, [self.move.target])[0]


@strawberry.type(description="A planned move with its cursor (Relay edge).")
class PlannedMoveEdge:
    """Relay's edge."""

    cursor: str = strawberry.field(description="Cursor of this edge: pass it as `after` to continue from here.")
    node: PlannedMove = strawberry.field(description="The planned move.")


@strawberry.type(description="A page of planned moves, in the order of execution (Relay connection).")
class PlannedMoveConnection:
    """Relay's connection."""

    edges: list[PlannedMoveEdge] = strawberry.field(description="Edges of this page.")
    page_info: PageInfo = strawberry.field(description="Cursors of this page, and whether there are more.")
    total_count: int | None = strawberry.field(
        description="Number of items in the whole list, exact; null if it is not counted."
    )


@strawberry.type(description="Pods that cannot take a tile, all for the same reason.")
class PodRejection:
    """Pods and a reason."""

    reason: str = strawberry.field(
        description=(
            "The first violated constraint: QUARANTINED (the tile is in quarantine), LABELS (the pods lack "
            "required labels), FORBIDDEN (by an operator), PINNED_ELSEWHERE, EVACUATING, NOT_ACCEPTING, "
            "FULL_TILES or OVER_CAPACITY."
        )
    )
    missing_labels: list[SessionDetail] = strawberry.field(description="Labels that these pods lack.")
    pod_count: int = strawberry.field(description="Number of these pods.")
    pod_ids: list[strawberry.ID] = strawberry.field(
        description=f"Ids of these pods, in order, at most {PODS_NAMED_MAX}."
    )


@strawberry.type(description="A tile that no pod can take, with the reasons.")
class UnplaceableTile:
    """A tile without a place."""

    tile_id: strawberry.ID = strawberry.field(description="The tile's id.")
    reasons: list[str] = strawberry.field(
        description=(
            "Summary of the reasons: NO_PODS (no pod accepts tiles), ALL_PODS_FULL, LABELS, FORBIDDEN, PINNED "
            "(the pod it is pinned to cannot take it), OVER_CAPACITY or QUARANTINED."
        )
    )
    rejections: list[PodRejection] = strawberry.field(
        description=(
            "The reason for every live pod: pods with the same reason are grouped, largest groups first, at most "
            f"{REJECTIONS_MAX} groups. Empty for tiles beyond the first {EXPLAINED_MAX} distinct results of a plan."
        )
    )

    @strawberry.field(description="The tile; null once it has been removed.")
    def tile(self, info: Info) -> Tile | None:
        """The tile."""
        return _tile(info, TileId(str(self.tile_id)))


@strawberry.type(description="A set of moves, splits and merges. It is a dry run until it is passed to `rebalance`.")
class RebalancePlan:
    """A plan."""

    plan: strawberry.Private[FleetPlan]
    id: strawberry.ID = strawberry.field(description="Pass it to `rebalance` to apply exactly this plan.")
    is_hypothetical: bool = strawberry.field(
        description="Whether it is based on hypothetical pods or loads; then it cannot be applied."
    )
    base_version: Long = strawberry.field(description="The fleet's version it was computed from.")
    created_at: datetime = strawberry.field(description="When it was made.")
    expires_at: datetime = strawberry.field(description="Until when it can be applied.")
    skipped: str | None = strawberry.field(
        description="Why it changes nothing; null if it moves, splits or merges tiles."
    )
    move_count: int = strawberry.field(description="Number of tiles it assigns to another pod.")
    before: PlanOutcome = strawberry.field(description="The fleet's balance before the plan.")
    after: PlanOutcome = strawberry.field(description="The fleet's balance after the plan.")
    churn: float = strawberry.field(description="Load that it moves away from overloaded pods.")
    fill_churn: float = strawberry.field(
        description="Load that it moves, in addition to `churn`, to underloaded pods, such as new ones."
    )
    churn_lower_bound: float = strawberry.field(
        description=(
            "Lower bound of the load that must be moved to reach the target: the sum over pods of max(0, load - "
            "target * fair share)."
        )
    )
    compute_ms: float = strawberry.field(description="Duration of planning, in milliseconds.")

    @strawberry.field(description="The moves, in the order of execution.")
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

    @strawberry.field(description="Hot tiles to be replaced by their H3 children, hottest first.")
    def splits(self) -> list[PlannedSplit]:
        """The splits."""
        return [PlannedSplit(split=split, load=split.load) for split in self.plan.splits]

    @strawberry.field(
        description="Sets of cold siblings from earlier splits, to be replaced by their parent, coldest first."
    )
    def merges(self) -> list[PlannedMerge]:
        """The merges."""
        return [PlannedMerge(merge=merge, load=merge.load) for merge in self.plan.merges]

    @strawberry.field(description="Hot tiles that are not split, with the reason, hottest first.")
    def unsplit(self, first: TilesPageSize = TILES_PAGE_SIZE) -> list[UnsplitTile]:
        """Hot tiles that stay whole."""
        size = page_size(first, TILES_PAGE_SIZE, TILES_PAGE_SIZE_MAX)
        return [
            UnsplitTile(tile_id=strawberry.ID(tile_id), reason=UnsplitReason[reason])
            for tile_id, reason in self.plan.unsplit[:size]
        ]

    @strawberry.field(description="Tiles that no pod can take.")
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
