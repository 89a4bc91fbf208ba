"""What was decided on the fleet before its live store was lost is refused afterwards, with its facts."""

from uuid import uuid4

import pytest

from subgraph.domain.errors import EpochStale, LeaseLost, NotFound, PlanStale, Unavailable
from subgraph.domain.fleet.fleet_plan import FleetMove, FleetPlan, Outcome
from subgraph.domain.ids import PodId, TileId
from subgraph.domain.loads import LoadBatch
from subgraph.domain.ownership import AcknowledgedPhase, AssignmentReason
from subgraph.operations.control.rebalancing import Rebalancing
from subgraph.operations.fleet.fleet_writes import PodLease
from subgraph.operations.fleet.pod_registering import NewPod
from subgraph.operations.fleet.pods import Acknowledgement
from tests.support.fleets import A, B
from tests.support.lossy_world import AS_PLACED, World, emptied, restarted, versions
from tests.support.records import owner_in
from tests.support.simulated_pod import SimulatedPod

pytestmark = pytest.mark.anyio

D = PodId("d")


async def kept_plan(world: World, tile_id: TileId, target: PodId) -> FleetPlan:
    """A plan of one move, as a dry run leaves it behind."""
    process = world.process
    fleet, now_ms = await world.fleet(), (await process.live.beat()).now_ms
    owner, pod = owner_in(fleet, tile_id), fleet.pods.get(target)
    assert pod is not None
    [(_, version)] = await versions(world, [tile_id])
    move = FleetMove(tile_id, owner.pod_id, target, AssignmentReason.MANUAL, 1.0, 0.0, int(version), pod.changed_at)
    even = Outcome(1.0, 0.5, 0)
    plan = FleetPlan(uuid4().hex, fleet.version, now_ms, now_ms + 60_000, [move], [], None, even, even, 1.0, 0.0, 0.1)
    await process.live.keep_plan(plan)
    return plan


async def test_a_plan_made_before_names_the_tile_and_the_pod_that_have_changed(world: World) -> None:
    before = await world.settled()
    tile_id = next(one for one, (pod_id, _) in before.items() if pod_id == A)
    plan = await kept_plan(world, tile_id, B)
    await restarted(world)
    await world.recovered()
    rebalancing = Rebalancing(world.process.live, world.process.view, AS_PLACED)
    with pytest.raises(PlanStale) as stale:
        await rebalancing.apply(plan.id, None)
    assert (stale.value.changed_tile_ids, stale.value.changed_pod_ids) == ((tile_id,), (B,))
    await emptied(world)
    await world.recovered((await world.fleet()).era + 1)
    with pytest.raises(NotFound):
        await rebalancing.apply(plan.id, None)


async def test_who_asks_to_rebalance_while_the_fleet_recovers_is_told_to_try_again(world: World) -> None:
    await world.settled()
    # One that held something and does not come back: what it had is waited for.
    await world.pods.pop().die()
    await emptied(world)
    await world.process.until(lambda fleet: fleet.era > 1, "the era begins")
    with pytest.raises(Unavailable, match="recovers"):
        await Rebalancing(world.process.live, world.process.view, AS_PLACED).apply(None, None)


async def test_a_registration_an_acknowledgement_and_a_report_of_before_are_refused(world: World) -> None:
    pod = SimulatedPod(world.process, D)
    await pod.register()
    before = await world.settled()
    tile_id, (_, epoch) = next(iter(before.items()))
    pods, said = world.process.pods, [Acknowledgement(tile_id, epoch, AcknowledgedPhase.ACTIVE)]
    await emptied(world)
    after = await world.recovered()
    load = LoadBatch(D, [tile_id], [epoch], [1.0], [0.0], [0], [0])
    for call in (pods.heartbeat(pod.lease, 0), pods.acknowledge(pod.lease, said), pods.report(pod.lease, load)):
        with pytest.raises((LeaseLost, NotFound)) as refused:
            await call
        assert not getattr(refused.value, "superseded", False)
    lease = PodLease(D, (await world.process.registering.register(NewPod(D, "test", 100.0))).lease_token)
    _, failures = await pods.acknowledge(lease, said)
    accepted, stale = await pods.report(lease, load)
    assert accepted == 0
    for failure in (*failures, *stale):
        assert isinstance(failure, EpochStale)
        assert (failure.tile_id, failure.current_epoch) == (tile_id, after[tile_id][1])
    assert (len(failures), len(stale)) == (1, 1)
    assert (await world.settled())[tile_id] == after[tile_id]
