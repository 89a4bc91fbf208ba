"""The pod client against a scripted session manager: when it may work, and what it says when it registers again."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence

import pytest

from subgraph.client.manager import LeaseRefused, OwnedTerm, Superseded, Takeover, TileLoad, Unreachable
from subgraph.client.pod import PodClient, PodRegistration
from tests.support.polling import eventually
from tests.support.scripted_manager import ScriptedManager, change, snapshot

pytestmark = pytest.mark.anyio

LEASE_SECONDS = 0.4


class Clock:
    """A boot clock that goes on by hand only."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


class Worker:
    """Reports one record a second of each tile it has."""

    def __init__(self) -> None:
        self.tiles: dict[str, int] = {}
        self.highest: dict[str, int] = {}
        """What its sink has seen."""

    async def prepare(self, terms: Sequence[OwnedTerm]) -> None:
        pass

    async def activate(self, takeovers: Sequence[Takeover]) -> Mapping[str, int]:
        refused = {
            one.tile_id: self.highest[one.tile_id] for one in takeovers if self.highest.get(one.tile_id, 0) > one.epoch
        }
        self.tiles.update((one.tile_id, one.epoch) for one in takeovers if one.tile_id not in refused)
        return refused

    async def release(self, terms: Sequence[OwnedTerm]) -> None:
        for tile_id, _ in terms:
            self.tiles.pop(tile_id, None)

    def loads(self) -> Sequence[TileLoad]:
        return [TileLoad(tile_id, epoch, 1.0) for tile_id, epoch in self.tiles.items()]


@contextlib.asynccontextmanager
async def living(
    manager: ScriptedManager, clock: Clock, worker: Worker | None = None
) -> AsyncIterator[tuple[PodClient, "asyncio.Task[None]"]]:
    registration = PodRegistration("pod", "test", 100.0, LEASE_SECONDS)
    client = PodClient(manager, registration, worker or Worker(), report_seconds=0.02, clock=clock)
    running = asyncio.create_task(client.run())
    try:
        yield client, running
    finally:
        running.cancel()
        await asyncio.wait([running])


async def test_a_tile_is_worked_on_once_it_is_active_and_its_load_is_reported() -> None:
    manager, clock = ScriptedManager(snapshot(1, a_1="PREPARING")), Clock()
    async with living(manager, clock) as (client, _):
        await eventually(lambda: manager.acknowledged == [("a", 1, "READY")], "it is ready")
        assert not client.may_work("a", 1)
        manager.tell(change(2, 1, a_1="ACTIVE"))
        await eventually(lambda: manager.reported, "it reports")
        assert client.may_work("a", 1)
        assert not client.may_work("a", 2)
        assert manager.reported[0] == TileLoad("a", 1, 1.0)


async def test_the_lease_ends_a_fifth_early_by_the_pods_own_clock_unless_it_is_renewed() -> None:
    manager, clock = ScriptedManager(snapshot(1, a_1="ACTIVE")), Clock()
    async with living(manager, clock) as (client, _):
        await eventually(lambda: client.may_work("a", 1), "it works")
        manager.fails_with = Unreachable("away")
        clock.seconds += 0.79 * LEASE_SECONDS
        assert client.may_work("a", 1)
        clock.seconds += 0.02 * LEASE_SECONDS
        assert not client.may_work("a", 1)
        manager.fails_with = None
        await eventually(lambda: client.may_work("a", 1), "it goes on in the same term")
        assert len(manager.registered) == 1


async def test_after_a_long_pause_a_tile_given_away_meanwhile_is_not_worked_on_for_a_moment() -> None:
    manager, clock = ScriptedManager(snapshot(1, a_1="ACTIVE", b_1="ACTIVE")), Clock()
    async with living(manager, clock) as (client, _):
        await eventually(lambda: client.may_work("a", 1), "it works")
        manager.first = snapshot(9, b_1="ACTIVE")
        manager.refuses = True
        clock.seconds += 60
        while not client.may_work("b", 1):
            assert not client.may_work("a", 1)
            await asyncio.sleep(0)
        assert not client.may_work("a", 1)
        assert manager.registered[1]["held"] == [{"tileId": "a", "epoch": 1}, {"tileId": "b", "epoch": 1}]


@pytest.mark.parametrize(("failure", "ends"), [(Superseded, True), (LeaseRefused, False)])
async def test_a_superseded_instance_ends_and_a_lost_one_registers_again(
    failure: type[LeaseRefused], ends: bool
) -> None:
    manager, clock = ScriptedManager(snapshot(1, a_1="ACTIVE")), Clock()
    async with living(manager, clock) as (client, running):
        await eventually(lambda: client.may_work("a", 1), "it works")
        manager.fails_with = failure("refused")
        await eventually(lambda: not client.may_work("a", 1), "it stops")
        manager.fails_with = None
        if ends:
            await asyncio.wait([running])
            with pytest.raises(Superseded):
                running.result()
        else:
            await eventually(lambda: client.may_work("a", 1), "it works again")


async def test_a_pod_that_leaves_waits_for_its_tiles_to_go() -> None:
    manager, clock = ScriptedManager(snapshot(1, a_1="ACTIVE")), Clock()
    async with living(manager, clock) as (client, running):
        await eventually(lambda: client.may_work("a", 1), "it works")
        client.leave()
        heartbeats = manager.heartbeats
        await eventually(lambda: manager.heartbeats > heartbeats + 2, "it goes on renewing")
        assert not running.done()
        manager.tell(change(2, 1, a_1="DRAINING"))
        await asyncio.wait([running], timeout=30)
        assert running.done()
        running.result()
        assert manager.acknowledged[-1] == ("a", 1, "RELEASED")


@pytest.mark.parametrize("turns", range(8))
async def test_a_pod_stops_when_told_to_also_in_the_moment_its_lease_is_lost(turns: int) -> None:
    manager, clock = ScriptedManager(snapshot(1, a_1="ACTIVE")), Clock()
    async with living(manager, clock) as (client, running):
        await eventually(lambda: client.may_work("a", 1), "it works")
        manager.refuses = True
        while not manager.refusals:
            await asyncio.sleep(0)
        for _ in range(turns):
            await asyncio.sleep(0)
        running.cancel()
        done, _ = await asyncio.wait([running], timeout=30)
        assert done
        assert len(manager.registered) == 1


async def test_a_session_manager_that_knows_less_than_a_sink_is_told_of_the_sinks_epoch() -> None:
    """All its stores were put back: the epochs it gives out are below those that the sink has seen."""
    manager, worker = ScriptedManager(snapshot(5, a_1="ACTIVE", b_2="ACTIVE")), Worker()
    worker.highest = {"b": 40}
    async with living(manager, Clock(), worker) as (client, _):
        await eventually(lambda: len(manager.registered) > 1, "the pod registers again")
        held = {one["tileId"]: one["epoch"] for one in manager.registered[1]["held"]}
        assert held == {"a": 1, "b": 40}
        manager.first = snapshot(60, a_1="ACTIVE", b_50="ACTIVE")
        await eventually(lambda: client.owned == {"a": 1, "b": 50}, "a higher epoch is taken")
        assert ("b", 2, "ACTIVE") not in manager.acknowledged
