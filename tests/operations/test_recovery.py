"""A fleet whose live state was lost, in part or wholly: owners keep their tiles, and no sink takes anything twice."""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import h3.api.basic_int as h3
import pytest
from redis.asyncio import Redis

from subgraph.adapters.embedded_valkey import EmbeddedValkey
from subgraph.client.audit import SinkAudit
from subgraph.client.redis_connection import connect
from subgraph.client.redis_sink import sink_key
from subgraph.domain.errors import Unavailable
from subgraph.domain.fleet.plans import PlacementPolicy
from subgraph.domain.ids import PodId, SessionId, TileId, tile_id
from subgraph.domain.ownership import AssignmentReason, TileRecord
from subgraph.domain.planning.policy import BalancePolicy
from subgraph.domain.registration import TileTemplate
from subgraph.operations.live_fleet import TileWrite
from tests.operations.conftest import Starts, add_tiles
from tests.support.fleet_process import FleetProcess, Pace, Register
from tests.support.fleets import CELLS, SESSION, TENANT, A, B, C, tile_ids
from tests.support.own_valkey import kill
from tests.support.polling import eventually
from tests.support.real_pods import RealPod, by_pod, settled

pytestmark = pytest.mark.anyio

LEASE_SECONDS = 1.0
AS_PLACED = PlacementPolicy(balance=replace(BalancePolicy(), trigger=float("inf")))
"""Nothing moves for balance: what moves, the loss has moved."""
PACE = Pace(pod_lease_ms=1_000, placement=AS_PLACED)
TILES = 30
Owners = dict[TileId, tuple[PodId, int]]


@pytest.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[EmbeddedValkey]:
    server = EmbeddedValkey(tmp_path / "fleet")
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def sink(valkey_url: str, fleet_id: str) -> AsyncIterator[Redis]:
    # A plain client may swallow the cancellation of a pod that dies in the middle of a write.
    redis = connect(valkey_url)
    await redis.delete(*(sink_key("test", part) for part in ("positions", "payloads", "totals", "accepted")))
    yield redis
    await redis.aclose()


@dataclass(slots=True)
class World:
    """A fleet with three pods that work, on a store that can be harmed; the sink is elsewhere, and judges."""

    valkey: EmbeddedValkey
    sink: Redis
    register: Register
    process: FleetProcess
    pods: list[RealPod] = field(default_factory=list)

    async def settled(self, tiles: int = TILES) -> Owners:
        """Owners and epochs once all tiles are worked on, after a look at the sink."""
        owners = await settled(self.process, self.pods, tiles)
        audit = SinkAudit(self.sink, "test")
        before = (await self._audited(audit)).accepted
        await eventually(lambda: self._has_more(audit, before), "the sink goes on taking records")
        findings = audit.findings
        assert (findings.accepted_twice, findings.below_highest_epoch) == (0, 0)
        assert all(pod.runs for pod in self.pods)
        return owners

    async def recovered(self, era: int = 2, tiles: int = TILES) -> Owners:
        """The same, once what was lost before an era is restored."""
        await self.process.until(
            lambda fleet: fleet.era >= era and self.process.view.is_restored, f"era {era} has begun and is restored"
        )
        return await self.settled(tiles)

    async def _audited(self, audit: SinkAudit):  # type: ignore[no-untyped-def]
        while await audit.follow():
            pass
        return audit.findings

    async def _has_more(self, audit: SinkAudit, before: int) -> bool:
        return bool((await self._audited(audit)).accepted > before + TILES)

    async def flushall(self) -> None:
        async with Redis.from_url(self.valkey.url) as client:
            await client.flushall()


@pytest.fixture
async def world(valkey: EmbeddedValkey, sink: Redis, start: Starts, register: Register) -> AsyncIterator[World]:
    process = await start(valkey.url, pace=PACE)
    async with AsyncExitStack() as ends:
        world = World(valkey, sink, register, process)
        for pod_id in (A, B, C):
            pod = RealPod(lambda: world.process, sink, pod_id, LEASE_SECONDS)
            ends.push_async_callback(pod.die)
            world.pods.append(await pod.live())
        await process.until(lambda fleet: len(fleet.ready_pods()) == 3, "all pods are there")
        await add_tiles(process, TILES)
        yield world


def assert_kept(before: Owners, after: Owners, share: float = 1.0) -> None:
    """Tiles are where they were, all at epochs above every one before."""
    kept = sum(after[tile_id][0] == pod_id for tile_id, (pod_id, _) in before.items() if tile_id in after)
    assert kept >= share * len(before), f"{kept} of {len(before)} tiles kept their owner"
    assert min(epoch for _, epoch in after.values()) > max(epoch for _, epoch in before.values())


# ── What is lost ──────────────────────────────────────────────────────────────────────────────────────────────────


async def emptied(world: World) -> None:
    await world.flushall()


async def restarted_empty(world: World) -> None:
    await kill(world.valkey)
    shutil.rmtree(Path(world.valkey.url.removeprefix("unix://").partition("?")[0]).parent / "appendonlydir")
    await world.valkey.start()


async def restarted(world: World) -> None:
    await kill(world.valkey)
    await world.valkey.start()


@pytest.mark.parametrize("lose", [emptied, restarted_empty, restarted])
async def test_owners_keep_their_tiles_at_higher_epochs(world: World, lose: Callable[[World], Awaitable[None]]) -> None:
    before = await world.settled()
    await lose(world)
    after = await world.recovered()
    assert_kept(before, after)
    terms = [world.process.view.current().record(tile_id) for tile_id in after]
    assert {record.owner.reason for record in terms if record and record.owner} == {AssignmentReason.RECOVERED}


class Backup:
    """The files of a store as they were once."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._directory = Path(world.valkey.url.removeprefix("unix://").partition("?")[0]).parent
        self._copy = self._directory.with_name("backup")
        shutil.copytree(self._directory / "appendonlydir", self._copy)

    async def restore(self) -> None:
        await kill(self._world.valkey)
        shutil.rmtree(self._directory / "appendonlydir")
        shutil.copytree(self._copy, self._directory / "appendonlydir")
        await self._world.valkey.start()


class Dump:
    """All keys of a store as they were once: put back, the store has not even been restarted."""

    def __init__(self, world: World, keys: dict[bytes | str, bytes]) -> None:
        self._world = world
        self._keys = keys

    @classmethod
    async def of(cls, world: World) -> "Dump":
        async with Redis.from_url(world.valkey.url) as client:
            lasting = {*await client.keys()} - {*await client.keys("*:leader")}
            dumps = {key: await client.dump(key) for key in lasting}
        keys = {key: dump for key, dump in dumps.items() if dump is not None}
        return cls(world, keys)

    async def restore(self) -> None:
        async with Redis.from_url(self._world.valkey.url) as client, client.pipeline(transaction=True) as together:
            leader = next(iter(await client.keys("*:leader")), None)
            for key in await client.keys():
                if key != leader:
                    together.delete(key)
            for key, value in self._keys.items():
                together.restore(key, 0, value, replace=True)
            await together.execute()


async def backup_of(world: World) -> Backup:
    return Backup(world)


@pytest.mark.parametrize("save", [backup_of, Dump.of])
async def test_a_store_put_back_to_an_earlier_state_takes_no_tile_from_those_who_got_it_since(
    world: World, save: Callable[[World], Awaitable[Backup | Dump]]
) -> None:
    """Tiles have moved meanwhile, and an owner of then has left: nobody is taken back to how it was."""
    was = by_pod(await world.settled())
    saved = await save(world)
    leaver = world.pods.pop()
    await leaver.die()
    before = await world.settled()
    assert set(by_pod(before)) == {A, B}
    assert was[leaver.id]
    await saved.restore()
    assert_kept(before, await world.recovered())


async def test_a_session_that_ended_meanwhile_stays_ended(world: World) -> None:
    await world.settled()
    ids = tile_ids(3, SessionId("other"))
    world.register.coverage.note(ids)
    await world.process.live.commit(None, [TileWrite(one, 0, TileRecord(TENANT)) for one in ids])
    before = await world.settled(TILES + 3)
    saved = Backup(world)
    world.register.coverage.stopped.add(SessionId("other"))
    await world.process.live.commit(
        None, [TileWrite(one, int(version), None) for one, version in await versions(world, ids)]
    )
    await world.settled()
    await saved.restore()
    await world.process.until(lambda fleet: fleet.era > 1, "a new era")
    await world.process.until(lambda fleet: not any(fleet.record(one) for one in ids), "its tiles are gone")
    after = await world.recovered()
    assert_kept({one: owner for one, owner in before.items() if one not in ids}, after)
    era = world.process.view.current().era
    await world.flushall()
    assert set(await world.recovered(era + 1)) == set(after)


async def versions(world: World, ids: list[TileId]) -> list[tuple[TileId, int]]:
    return [(one, stored.version) for one, stored in (await world.process.live.read_tiles(ids)).items()]


async def test_parts_of_a_registered_cell_come_back_as_its_parts(world: World) -> None:
    before = await world.settled()
    whole = tile_ids(1)[0]
    children = [tile_id(SESSION, child) for child in sorted(h3.cell_to_children(CELLS[0]))]
    record = TileRecord(TENANT, registered_resolution=h3.get_resolution(CELLS[0]))
    (version,) = [version for _, version in await versions(world, [whole])]
    group = [TileWrite(whole, version, None), *(TileWrite(child, 0, record) for child in children)]
    assert not (await world.process.live.commit(None, [], groups=[group])).tile_conflicts
    before = await world.settled(TILES + 6)
    await world.flushall()
    after = await world.recovered(tiles=TILES + 6)
    assert set(children) <= set(after)
    assert_kept(before, after)


async def test_what_nobody_claims_waits_for_one_lease_and_comes_back_as_it_was_registered(world: World) -> None:
    ids = tile_ids(TILES + 2)[TILES:]
    world.register.coverage.note(ids, TileTemplate(capacity=7.0))
    before = await world.settled()
    leaver = world.pods.pop()
    await leaver.die()
    flushed_at_ms = (await world.process.live.beat()).now_ms
    await world.flushall()
    after = await world.recovered(tiles=TILES + 2)
    fleet = world.process.view.current()
    orphans = [*by_pod(before)[leaver.id], *ids]
    for one in orphans:
        record = fleet.record(one)
        assert record is not None
        assert record.owner is not None
        assert record.owner.assigned_at_ms >= flushed_at_ms + PACE.pod_lease_ms
    assert [fleet.record(one).capacity for one in ids] == [7.0, 7.0]  # type: ignore[union-attr]
    assert_kept({one: owner for one, owner in before.items() if one not in orphans}, after)


async def test_a_fresh_fleet_waits_for_nobody(start: Starts, valkey: EmbeddedValkey) -> None:
    process = await start(valkey.url, pace=Pace(pod_lease_ms=60_000))
    await eventually(lambda: process.view.is_restored, "there is nothing to restore")
    assert (await process.live.beat()).is_restored


async def test_the_fleet_comes_back_although_its_leader_dies_in_the_middle(
    world: World, start: Starts, valkey: EmbeddedValkey
) -> None:
    before = await world.settled()
    other = await start(valkey.url, name="other", pace=PACE)
    await world.flushall()
    await other.until(lambda fleet: fleet.era > 1, "the era begins")
    processes = (world.process, other)
    leading = await eventually(lambda: next((one for one in processes if one.candidacy.leads), None), "one leads")
    world.process = other if leading is world.process else world.process
    await leading.kill()
    await eventually(lambda: world.process.candidacy.leads, "the other one leads")
    assert_kept(before, await world.recovered(), share=0.95)


# ── When SQL knows less, or is away ───────────────────────────────────────────────────────────────────────────────


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
        process = await start(valkey.url)
        await eventually(lambda process=process: process.candidacy.leads, "it leads")  # type: ignore[misc]
        await process.stop()
    incarnation, register.incarnations[fleet_id] = register.incarnations[fleet_id], 1
    process = await start(valkey.url)
    await eventually(lambda: process.candidacy.leads, "it leads")
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
    assert_kept(before, after)
    assert world.register.incarnations[fleet_id] > incarnation
    await world.process.stop()


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
