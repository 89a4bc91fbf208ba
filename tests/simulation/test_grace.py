"""What a new leader does while it may not lose anybody yet, told in virtual time."""

import asyncio
from unittest import mock

from subgraph.domain.ids import PodId
from subgraph.domain.pods import PodStatus
from tests.simulation.virtual_time import VirtualLoop
from tests.simulation.world import World
from tests.support.store_twin import StoreTwin

GRACE_SECONDS = 3.0
TURNS_MAX = 15
"""A few a second: renewals of the lease, regular cycles, and what pods and tiles call for."""


def test_a_new_leader_waits_for_the_end_of_its_grace_and_does_not_look_all_the_time() -> None:
    loop = VirtualLoop()
    turns, statuses = loop.run(_leader_and_pod_die_together(World(loop, 1)))
    assert statuses == [PodStatus.READY, PodStatus.LOST]
    assert turns < TURNS_MAX, turns


async def _leader_and_pod_die_together(world: World) -> tuple[int, list[PodStatus]]:
    """How often the next leader renewed its lease in its grace; and the pod's status before its end and after it."""
    await world.begin()
    await asyncio.sleep(6)
    world.pods["pod-1"].kill()
    leader = next(one for one in world.servers if one.candidacy.leads)
    leader.kill()
    world.servers.remove(leader)
    while not world.servers[0].candidacy.leads:
        await asyncio.sleep(0.01)
    with mock.patch.object(StoreTwin, "keep_leading", autospec=True, side_effect=StoreTwin.keep_leading) as renews:
        await asyncio.sleep(GRACE_SECONDS - 0.1)
        turns = renews.call_count
    statuses = [_status(world)]
    await asyncio.sleep(1)
    statuses.append(_status(world))
    await world.end()
    return turns, statuses


def _status(world: World) -> PodStatus:
    return world.store.stored.pods[PodId("pod-1")].record.status
