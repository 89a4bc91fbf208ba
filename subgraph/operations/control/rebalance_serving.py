"""Owns how the leader serves requests to rebalance: applies, refuses, or finds them already applied."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import uuid4

import msgspec

from subgraph.domain.fleet.fleet_plan import FleetPlan, KeyedPlan
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.fleet.plans import PlacementPolicy, prepare_plan
from subgraph.domain.ids import PodId, TileId
from subgraph.domain.ownership import TileRecord
from subgraph.operations.control.carrying_out import CarryingOut
from subgraph.operations.control.leadership import Term
from subgraph.operations.control.planning import planned
from subgraph.operations.control.rebalancing import RebalanceAnswer, RebalanceRequest, with_max_churn
from subgraph.operations.fleet.fleet_view import FleetView
from subgraph.operations.fleet.live_fleet import LiveFleet

logger = logging.getLogger(__name__)

REQUESTS_PER_CYCLE_MAX = 100
RECOVERING_ANSWER = RebalanceAnswer(refused="the fleet recovers from a loss of its live state", is_passing=True)
ABSENT = 0
"""Version of a tile that is not there."""

Settled = Mapping[TileId, TileRecord | None]


@dataclass(frozen=True, slots=True)
class RebalanceServing:
    """What a leader does with requests. `due` says what is to become of tiles anyway: it is written with the moves."""

    live: LiveFleet
    view: FleetView
    placement: PlacementPolicy
    carrying_out: CarryingOut
    due: Callable[[Term, Fleet, int], Settled]

    async def serve(self, term: Term, *, while_recovering: bool = False) -> None:
        """Answer the requests that wait.

        Raises:
            NotLeading, Unavailable: those that were taken and not answered are for their callers to repeat.
        """
        for request_id, raw in await self.live.take_requests(term.leadership, REQUESTS_PER_CYCLE_MAX):
            try:
                request = msgspec.json.decode(raw, type=RebalanceRequest)
            except msgspec.MsgspecError as error:
                # Of another version, or of a stranger: the others are served all the same.
                logger.warning("request %s to the leader cannot be read: %s", request_id, error)
                answer = RebalanceAnswer(refused="the leader cannot read the request: it runs another version")
            else:
                answer = RECOVERING_ANSWER if while_recovering else await self._rebalance(term, request)
            await self.live.answer_request(request_id, msgspec.json.encode(answer))

    async def _rebalance(self, term: Term, request: RebalanceRequest) -> RebalanceAnswer:
        once = request.once
        begun = None if once is None else await self.live.read_keyed_plan(once.key)
        if begun is not None:
            return await self._again(term, request, begun)
        beat, fleet = await self.view.observe()
        plan = None if request.plan_id is None else await self.live.read_plan(request.plan_id)
        if request.plan_id is not None and plan is None:
            return RebalanceAnswer(refused="the plan has expired")
        # A pod may have left since this cycle settled its tiles: what is due is written with the moves.
        async with self.view.frozen():
            due = self.due(term, fleet, beat.now_ms)
            if plan is None:
                policy = with_max_churn(self.placement, request.max_churn)
                plan_id, emergency = str(uuid4()), request.emergency
                prepared = prepare_plan(
                    fleet, plan_id, beat.now_ms, policy, settled=due, by_hand=True, emergency=emergency
                )
                plan = await planned(prepared)
            stale = staleness(fleet, plan, beat.now_ms)
            if stale is not None:
                return stale
            if once is not None:
                # Before anything of it is written: whoever repeats the request goes on with this plan, and no other.
                keyed = KeyedPlan(once.fingerprint, plan)
                begun = await self.live.begin_keyed_plan(term.leadership, once.key, keyed, once.kept_ms)
        if begun is not None:
            return await self._again(term, request, begun)
        await self.carrying_out.carry_out(term, fleet, beat.now_ms, due, plan, frozenset())
        if once is not None:
            await self.live.end_keyed_plan(once.key, keyed)
        return RebalanceAnswer(plan=plan)

    async def _again(self, term: Term, request: RebalanceRequest, begun: KeyedPlan) -> RebalanceAnswer:
        """Answer a key that came before; what was cut short is gone on with where nothing has changed since."""
        assert request.once is not None
        if begun.fingerprint != request.once.fingerprint:
            return RebalanceAnswer(key_used_for=begun.fingerprint)
        if not begun.is_done:
            beat, fleet = await self.view.observe()
            due = self.due(term, fleet, beat.now_ms)
            rest = remainder(fleet, begun.plan)
            await self.carrying_out.carry_out(term, fleet, beat.now_ms, due, rest, frozenset())
            await self.live.end_keyed_plan(request.once.key, begun)
        return RebalanceAnswer(plan=begun.plan)


def staleness(fleet: Fleet, plan: FleetPlan, now_ms: int) -> RebalanceAnswer | None:
    """Why a plan cannot be carried out on the fleet as it is now; None: it can."""
    if now_ms > plan.expires_at_ms:
        return RebalanceAnswer(refused="the plan has expired")
    decided_on = {move.tile_id: move.tile_version for move in plan.moves}
    for split in plan.splits:
        decided_on |= {split.tile_id: split.tile_version, **dict.fromkeys(split.into, ABSENT)}
    for merge in plan.merges:
        decided_on |= {merge.parent: ABSENT, **dict(zip(merge.tiles, merge.tile_versions, strict=True))}
    tiles = tuple(tile_id for tile_id, version in decided_on.items() if _tile_version(fleet, tile_id) != version)
    pods = {move.target for move in plan.moves if _pod_version(fleet, move.target) != move.target_version}
    if tiles or pods:
        why = "tiles or pods that the plan touches have changed since it was made"
        return RebalanceAnswer(refused=why, changed_tile_ids=tiles, changed_pod_ids=tuple(sorted(pods)))
    return None


def remainder(fleet: Fleet, plan: FleetPlan) -> FleetPlan:
    """What of a plan is still to be carried out: where nothing that it was decided on has changed."""

    def untouched(tiles: Sequence[TileId], versions: Sequence[int]) -> bool:
        return [_tile_version(fleet, tile_id) for tile_id in tiles] == list(versions)

    return msgspec.structs.replace(
        plan,
        moves=[
            move
            for move in plan.moves
            if untouched([move.tile_id], [move.tile_version])
            and _pod_version(fleet, move.target) == move.target_version
        ],
        splits=tuple(split for split in plan.splits if untouched([split.tile_id], [split.tile_version])),
        merges=tuple(merge for merge in plan.merges if untouched(merge.tiles, merge.tile_versions)),
    )


def _tile_version(fleet: Fleet, tile_id: TileId) -> int:
    row = fleet.tiles.row(tile_id)
    return ABSENT if row is None else int(fleet.tiles.changed_at[row])


def _pod_version(fleet: Fleet, pod_id: PodId) -> int | None:
    pod = fleet.pods.get(pod_id)
    return None if pod is None else pod.changed_at
