"""A fleet whose SQL was put back behind its live store, or does not answer: epochs rise, and work goes on."""

import pytest

from subgraph.adapters.valkey.embedded_valkey import EmbeddedValkey
from subgraph.domain.errors import Unavailable
from tests.operations.conftest import Starts
from tests.support.fleet_process import FleetProcess, Register
from tests.support.fleets import A, B, C
from tests.support.lossy_world import PACE, World, assert_kept, restarted, restarted_empty
from tests.support.polling import eventually
from tests.support.real_pods import by_pod

pytestmark = pytest.mark.anyio


class _SqlAway(Register):
    """SQL that does not answer any more once `is_away`."""

    is_away = False

    async def raise_incarnation(self, fleet_id: str, above: int = 0) -> int:
        if self.is_away:
            raise Unavailable("the database does not answer")
        return await super().raise_incarnation(fleet_id, above)


@pytest.fixture
def register() -> Register:
    return _SqlAway()


async def leading(start: Starts, valkey: EmbeddedValkey) -> FleetProcess:
    process = await start(valkey.url)
    await eventually(lambda: process.candidacy.leads, "it leads")
    return process


async def test_sql_put_back_behind_the_live_store_is_raised_above_it(world: World, fleet_id: str) -> None:
    before = await world.settled()
    for _ in range(2):
        incarnation = world.register.incarnations[fleet_id]
        world.register.incarnations[fleet_id] = 0
        await restarted(world)
        after = await world.recovered(incarnation + 1)
        assert world.register.incarnations[fleet_id] > incarnation
        assert_kept(before, after)


async def test_sql_behind_a_store_that_this_process_has_not_seen_is_said_and_healed(
    start: Starts, valkey: EmbeddedValkey, register: Register, fleet_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        await (await leading(start, valkey)).stop()
    incarnation, register.incarnations[fleet_id] = register.incarnations[fleet_id], 1
    await leading(start, valkey)
    assert register.incarnations[fleet_id] == incarnation + 1
    assert "SQL is behind the live store" in caplog.text


async def test_stores_that_were_both_put_back_learn_from_pods_how_far_the_fleet_was(
    world: World, fleet_id: str
) -> None:
    """Otherwise every sink would refuse every epoch that is given out, for ever."""
    for _ in range(3):
        incarnation = world.register.incarnations[fleet_id]
        await restarted(world)
        before = await world.recovered(incarnation + 1)
    incarnation = world.register.incarnations[fleet_id]
    # The process has seen all of it, so it must be a new one; it begins at nothing, as after a rebuild.
    world.register.incarnations[fleet_id] = 0
    await world.process.stop()
    await restarted_empty(world)
    world.process = FleetProcess(world.valkey.url, fleet_id, world.register, "new", PACE)
    await world.process.start()
    after = await world.recovered(incarnation + 1)
    # Pods register twice within one lease here; on a busy machine not all of them make it.
    assert_kept(before, after, share=0.0)
    assert world.register.incarnations[fleet_id] > incarnation
    await world.process.stop()


async def test_without_sql_assignment_goes_on(world: World) -> None:
    before = await world.settled()
    assert isinstance(world.register, _SqlAway)
    world.register.is_away = True
    leaver = world.pods.pop()
    await leaver.die()
    after = await world.settled()
    assert set(by_pod(after)) == {A, B}
    assert {one: owner for one, owner in before.items() if owner[0] != C}.items() <= after.items()


async def test_without_sql_pods_go_on_working_on_a_store_that_was_restarted(world: World) -> None:
    """Nobody takes it over, so nothing is written; leases are renewed, and owners keep what they have."""
    before = await world.settled()
    assert isinstance(world.register, _SqlAway)
    world.register.is_away = True
    await restarted(world)
    await eventually(lambda: not world.process.view.is_current, "no leader has taken the store over")
    renewed_from_ms = (await world.process.live.beat()).now_ms

    async def all_renew() -> bool:
        leases = (await world.process.live.beat()).leases
        return all(leases.get(pod.id, 0) > renewed_from_ms + 3 * PACE.pod_lease_ms for pod in world.pods)

    await eventually(all_renew, "all pods renew their leases for long")
    working = {tile_id: epoch for pod in world.pods for tile_id, epoch in pod.client.owned.items()}
    assert working == {tile_id: epoch for tile_id, (_, epoch) in before.items()}
    assert all(pod.client.may_work(one, epoch) for pod in world.pods for one, epoch in pod.client.owned.items())
    world.register.is_away = False
    assert_kept(before, await world.recovered())


async def test_after_the_control_plane_was_away_pods_go_on_with_what_they_had(
    world: World, start: Starts, valkey: EmbeddedValkey
) -> None:
    """Longer than any lease: pods have stopped by themselves, and nobody was there to give their tiles away."""
    before = await world.settled()
    await world.process.kill()
    await eventually(
        lambda: not any(pod.client.may_work(one, e) for pod in world.pods for one, e in pod.client.owned.items()),
        "all pods have stopped",
    )
    world.process = await start(valkey.url, name="new", pace=PACE)
    after = await world.settled()
    assert after == before
