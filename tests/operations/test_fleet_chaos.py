"""Random lives of a fleet: whatever dies, leaves, drains, comes back or stops, no epoch has two owners."""

import contextlib

import pytest

from tests.operations.conftest import MakesPod, Starts
from tests.support.fleet_life import Life
from tests.support.ownership_history import OwnershipHistory
from tests.support.polling import eventually

pytestmark = pytest.mark.anyio

ACTIONS = 25


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_no_epoch_has_two_owners_and_the_fleet_comes_to_rest(
    start: Starts, make_pod: MakesPod, history: OwnershipHistory, seed: int
) -> None:
    life = Life(seed, start, make_pod)
    await life.begin()
    for _ in range(ACTIONS):
        await life.happen()
        if life.random.random() < 0.7:
            await something_follows(history)

    last = await life.come_to_rest()
    assert not last.is_refused
    worked = [one for instance in life.all_instances for one in instance.worked]
    assert worked
    assert len(set(worked)) == len(worked), "two instances worked on a tile at the same epoch"
    fleet = life.processes[-1].view.current()
    for tile, epoch in worked:
        record = fleet.record(tile)
        if record is not None and epoch < record.epoch_in_force:
            assert not life.sink.takes(tile, epoch), "a former owner can still write"
    for process in life.processes:
        assert not any(task.done() for task in process.tasks)


async def something_follows(history: OwnershipHistory) -> None:
    """Let the next thing happen in the middle of what follows from the last one, if anything does."""
    seen = len(history.moments)
    with contextlib.suppress(AssertionError):
        await eventually(lambda: len(history.moments) > seen, "something follows", seconds_max=0.3)
