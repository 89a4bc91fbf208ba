"""Why nothing moved, as every process tells it: of the last round of planning, not of the steps between two rounds."""

from dataclasses import replace

import pytest

from subgraph.domain.access import ALL_SCOPES, Caller
from subgraph.domain.fleet.picture import Fleet
from subgraph.operations.by_hand.manual_moves import ManualMoves
from subgraph.operations.control.rebalancing import Rebalancing
from tests.operations.conftest import MakesPod, Starts, add_tiles
from tests.support.fleet_process import WITHOUT_COOL_DOWN, FleetProcess, Pace
from tests.support.fleets import TENANT, A, B, report
from tests.support.polling import eventually
from tests.support.simulated_pod import SimulatedPod

pytestmark = pytest.mark.anyio


async def until_skipped(process: FleetProcess, reason: str) -> None:
    def says() -> bool:
        cycle = process.view.current().last_cycle
        return cycle is not None and cycle.skip == reason

    await eventually(says, f"{reason} is told")


async def owned(process: FleetProcess, pod: SimulatedPod, count: int) -> None:
    def works(fleet: Fleet) -> bool:
        records = [fleet.record(one) for one, _ in fleet.tiles.items()]
        return count == sum(1 for one in records if one and one.is_settled and one.owner and one.owner.pod_id == pod.id)

    await process.until(works, f"{pod.id} works on {count} tiles")


async def test_steps_of_a_handoff_between_two_rounds_do_not_take_the_reason_away(
    start: Starts, make_pod: MakesPod
) -> None:
    process = await start(pace=Pace(cycle_seconds=0.5))
    await until_skipped(process, "NO_TILES")
    (tile,) = await add_tiles(process, 1)
    a = await make_pod(process, A)
    await owned(process, a, 1)
    b = await make_pod(process, B)
    await eventually(lambda: process.cycles[-1].skip not in (None, "NEW_LEADER"), "a round has nothing to do")
    reason, seen = process.cycles[-1].skip, len(process.cycles)
    moves = ManualMoves(process.live, process.view, Rebalancing(process.live, process.view, WITHOUT_COOL_DOWN))
    # Now and then a cut-over falls into a regular cycle.
    for target in (b, a, b, a):
        await moves.move(Caller(TENANT, "ann", ALL_SCOPES), tile, target.id)
        await owned(process, target, 1)
    assert [one for one in process.cycles[seen:] if one.settled_tiles and one.skip is None]
    assert {one.report.skip for one in process.cycles[seen:]} == {reason}


async def test_a_new_leader_says_that_it_waits_and_then_balances(start: Starts, make_pod: MakesPod) -> None:
    first = await start(name="first", pace=Pace(pod_lease_ms=3_000))
    await add_tiles(first, 4)
    a = await make_pod(first, A)
    await owned(first, a, 4)
    await first.kill()
    second = await start(name="second", pace=Pace(pod_lease_ms=3_000))
    a.process = second
    b = await make_pod(second, B)
    epoch_of = {one.tile_id: one.term.epoch for one in a.terms()}
    loads = replace(report(A, dict.fromkeys(epoch_of, 10.0)), epochs=list(epoch_of.values()))
    await second.pods.report(a.lease, loads)
    await until_skipped(second, "NEW_LEADER")
    assert not b.terms()
    await second.until(lambda fleet: len(fleet.terms_of_pod(B)) > 0, "it balances after a lease")
