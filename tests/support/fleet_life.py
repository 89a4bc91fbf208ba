"""Owns random lives of a fleet: processes die, pods come and go, sessions start and stop, tiles split and merge."""

import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from subgraph.domain.errors import LeaseLost, NotFound, PlanStale, Unavailable
from subgraph.domain.fleet.fleet_plan import plan_by_hand
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.fleet.planned_divisions import merge_of, split_of
from subgraph.domain.handoff import HandoffPolicy
from subgraph.domain.ids import PodId, SessionId, parse_tile_id
from subgraph.domain.pods import PodStatus
from subgraph.domain.succession import children_of, parent_of
from subgraph.operations.by_hand.operator import Operator
from subgraph.operations.control.rebalancing import Rebalancing
from subgraph.operations.coverage.retirement import Retirement
from subgraph.operations.fleet.fleet_writes import TileWrite
from tests.support.fleet_process import WITHOUT_COOL_DOWN, FleetProcess, Pace
from tests.support.fleets import tile, tile_ids
from tests.support.model_sink import ModelSink
from tests.support.simulated_pod import SimulatedPod

TILES_PER_SESSION = 12
PACE = Pace(handoff=HandoffPolicy(prepare_timeout_ms=500, drain_timeout_ms=500))
PODS = [PodId(f"pod-{n}") for n in range(4)]
SESSIONS = [SessionId(f"session-{n}") for n in range(3)]

Starts = Callable[..., Awaitable[FleetProcess]]
MakesPod = Callable[..., Awaitable[SimulatedPod]]


class Life:
    """A fleet that things happen to."""

    def __init__(self, seed: int, start: Starts, make_pod: MakesPod, **given: Any) -> None:
        self.random = random.Random(seed)
        self.start = partial(start, pace=PACE, **given)
        self.make_pod = make_pod
        self.processes: list[FleetProcess] = []
        self.instances: dict[PodId, SimulatedPod] = {}
        self.all_instances: list[SimulatedPod] = []
        self.sink = ModelSink()

    async def begin(self) -> None:
        """Two processes, a pod and a session."""
        self.processes = [await self.start(name="first"), await self.start(name="second")]
        await self.pod_comes()
        await self.session_starts()

    async def come_to_rest(self) -> SimulatedPod:
        """A last pod and a last tile come; returns the pod once all tiles are worked on and nothing is under way."""
        process = self.processes[-1]
        last = await self.make_pod(process, PodId("last"), sink=self.sink)
        (new,) = tile_ids(1, SessionId("last"))
        await process.live.commit(None, [TileWrite(new, 0, tile())])
        await process.until(
            lambda fleet: fleet.record(new) is not None and is_at_rest(fleet), "the fleet comes to rest"
        )
        return last

    async def happen(self) -> None:
        """Something happens; what cannot happen now does not."""
        acts = [self.kill_leader, self.pod_dies, self.pod_comes, self.pod_comes, self.pod_drains, self.pod_leaves]
        acts += [self.session_starts, self.session_starts, self.session_stops, self.rebalance]
        acts += [self.tile_splits, self.tile_splits, self.tiles_merge, self.tiles_merge]
        try:
            await self.random.choice(acts)()
        except (LeaseLost, NotFound, PlanStale, Unavailable):
            return

    @property
    def process(self) -> FleetProcess:
        return self.random.choice(self.processes)

    @property
    def pod(self) -> SimulatedPod:
        return self.random.choice(list(self.instances.values()))

    async def kill_leader(self) -> None:
        leader = next((one for one in self.processes if one.candidacy.leads), None)
        if leader is not None:
            self.processes.append(await self.start(name=f"process-{self.random.random()}"))
            self.processes.remove(leader)
            for instance in self.instances.values():
                instance.process = self.processes[-1]
            await leader.kill()

    async def pod_dies(self) -> None:
        await self.pod.die()

    async def pod_comes(self) -> None:
        pod_id = self.random.choice(PODS)
        new = await self.make_pod(self.process, pod_id, sink=self.sink)
        # The former instance goes on until it is told that it is fenced.
        self.instances[pod_id] = new
        self.all_instances.append(new)

    async def pod_drains(self) -> None:
        process = self.process
        await Operator(process.live, process.view).drain(self.random.choice(PODS))

    async def pod_leaves(self) -> None:
        pod = self.pod
        await pod.die()
        await pod.process.pods.deregister(pod.lease)

    async def session_starts(self) -> None:
        process, session_id = self.process, self.random.choice(SESSIONS)
        _, fleet = await process.view.observe(timeout_seconds=30)
        coverage = fleet.tiles.coverage(session_id)
        ids = {one: parse_tile_id(one)[1] for one in tile_ids(TILES_PER_SESSION, session_id)}
        missing = [one for one, cell in ids.items() if not coverage.covers(cell) and not coverage.tiles_within(cell)]
        await process.live.commit(None, [TileWrite(one, 0, tile()) for one in missing])

    async def session_stops(self) -> None:
        process = self.process
        retirement = Retirement(process.live, process.view)
        await retirement.retire_session(self.random.choice(SESSIONS))

    async def tile_splits(self) -> None:
        process = self.process
        fleet = process.view.current()
        tiles = [one for one, row in fleet.tiles.items() if row not in fleet.tiles.retiring]
        if tiles:
            await self._carry_out(process, splits=(split_of(fleet, self.random.choice(tiles)),))

    async def tiles_merge(self) -> None:
        process = self.process
        fleet = process.view.current()
        tiles = {one for one, row in fleet.tiles.items() if row not in fleet.tiles.retiring}
        parents = sorted(
            {parent for parent in map(parent_of, tiles) if parent and tiles.issuperset(children_of(parent))}
        )
        if parents:
            await self._carry_out(process, merges=(merge_of(fleet, self.random.choice(parents)),))

    async def _carry_out(self, process: FleetProcess, **steps: Any) -> None:
        plan = plan_by_hand(str(self.random.random()), process.view.current().version, process.view.now_ms(), **steps)
        await process.live.keep_plan(plan)
        await Rebalancing(process.live, process.view, WITHOUT_COOL_DOWN).apply(plan.id, None)

    async def rebalance(self) -> None:
        process = self.process
        await Rebalancing(process.live, process.view, WITHOUT_COOL_DOWN).apply(None, 1.0)


def is_at_rest(fleet: Fleet) -> bool:
    """Every tile is worked on by a pod that is ready, and nothing is under way."""
    records = {one: fleet.record(one) for one, _ in fleet.tiles.items()}
    ready = {pod.id for pod in fleet.pods if pod.record.status is PodStatus.READY}
    return all(
        record
        and record.owner
        and record.owner.acknowledged_at_ms
        and record.owner.pod_id in ready
        and not record.is_handing_over
        and not record.retiring
        for record in records.values()
    )
