"""Owns manual moves of a tile, each a plan of one move, carried out like any other; and explanations of placements."""

from dataclasses import dataclass
from uuid import uuid4

from subgraph.domain.access import Caller
from subgraph.domain.errors import IllegalState, NotFound, Unavailable
from subgraph.domain.fleet.explanation import Candidate, explain_tile
from subgraph.domain.fleet.fleet_plan import FleetMove, plan_by_hand
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.fleet.terms import TermChange, living_terms
from subgraph.domain.ids import PodId, TileId
from subgraph.domain.ownership import AssignmentReason, TileRecord, terms_of
from subgraph.domain.pods import PodStatus
from subgraph.domain.tile_rules import check_pin, check_place
from subgraph.operations.control.rebalancing import Rebalancing
from subgraph.operations.fleet.fleet_view import FleetView
from subgraph.operations.fleet.live_fleet import LiveFleet
from subgraph.operations.fleet.readings import rows_of


@dataclass(frozen=True, slots=True)
class ManualMoves:
    """Moves of single tiles on behalf of an operator."""

    live: LiveFleet
    view: FleetView
    rebalancing: Rebalancing

    async def move(self, caller: Caller, tile_id: TileId, pod_id: PodId) -> TermChange:
        """Begin a make-before-break move of a tile to a pod; an unowned tile is given to it at once.

        Returns:
            The pod's term, as it then stands. A pod that owns the tile already simply keeps it.

        Raises:
            NotFound: the caller has no such tile, or there is no such pod.
            IllegalState: the pod receives no tiles, a rule keeps the tile off it, or a handoff is under way.
            PlanStale: the tile or the pod changed at this very moment; try again.
            Unavailable: nobody leads at the moment.
        """
        fleet = self.view.current()
        if not rows_of(fleet, caller, [tile_id]):
            raise NotFound("Tile", tile_id, ("tileId",))
        record = fleet.record(tile_id)
        assert record is not None
        if record.owner and record.owner.pod_id == pod_id and record.next is None:
            return _term_with(tile_id, record, pod_id)
        move = _move(fleet, tile_id, record, pod_id)
        plan = plan_by_hand(str(uuid4()), fleet.version, self.view.now_ms(), moves=[move])
        await self.live.keep_plan(plan)
        await self.rebalancing.apply(plan.id, None)
        _, fleet = await self.view.observe()
        after = fleet.record(tile_id)
        if after is None:
            raise NotFound("Tile", tile_id, ("tileId",))
        return _term_with(tile_id, after, pod_id)

    def explain(self, tile_id: TileId) -> list[Candidate]:
        """Every live pod as a place for a tile, the best first; nothing for a tile that is gone."""
        return explain_tile(self.view.current(), tile_id, self.view.now_ms(), self.rebalancing.policy)


def _move(fleet: Fleet, tile_id: TileId, record: TileRecord, pod_id: PodId) -> FleetMove:
    pod = fleet.pods.get(pod_id)
    if pod is None or not pod.is_known:
        raise NotFound("Pod", pod_id, ("podId",))
    if pod.record.status is not PodStatus.READY:
        raise IllegalState(
            f"pod {pod_id!r} is {pod.record.status}: it receives no tiles", pod.record.status.value, ("podId",)
        )
    row = fleet.tiles.row(tile_id)
    assert row is not None
    check_place(tile_id, record, pod_id, fleet.tiles.requirements.of(row), pod.record.borne_labels)
    pinned_to = fleet.pods.get(record.pin) if record.pin is not None else None
    if pinned_to is not None and pinned_to.record.status.keeps_tiles:
        check_pin(tile_id, record, pod_id)
    if record.is_handing_over:
        state = next(state for _, state in reversed(terms_of(record)))
        raise IllegalState(f"a handoff of tile {tile_id!r} is under way", state.value, ("tileId",))
    return FleetMove(
        tile_id=tile_id,
        source=record.owner.pod_id if record.owner else None,
        target=pod_id,
        reason=AssignmentReason.MANUAL,
        load=fleet.reported_load(tile_id),
        gain=0.0,
        tile_version=int(fleet.tiles.changed_at[row]),
        target_version=pod.changed_at,
    )


def _term_with(tile_id: TileId, record: TileRecord, pod_id: PodId) -> TermChange:
    for change in reversed(living_terms(tile_id, record)):
        if change.term.pod_id == pod_id:
            return change
    raise Unavailable(f"tile {tile_id!r} went elsewhere at this very moment; try again", retry_after_seconds=1.0)
