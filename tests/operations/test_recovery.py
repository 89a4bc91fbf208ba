"""A fleet whose live state was lost, in part or wholly: owners keep their tiles, and no sink takes anything twice."""

from collections.abc import Awaitable, Callable
from typing import cast

import h3.api.basic_int as h3
import pytest
from redis.asyncio import Redis

from subgraph.adapters.redis.live_fleet import RedisLiveFleet
from subgraph.adapters.valkey.embedded_valkey import EmbeddedValkey
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.ids import PodId, SessionId, TileId, tile_id
from subgraph.domain.ownership import AssignmentReason, TileRecord
from subgraph.domain.registration import TileTemplate
from subgraph.operations.fleet.fleet_writes import TileWrite
from subgraph.operations.fleet.live_fleet import LiveFleet
from subgraph.operations.fleet.pod_registering import NewPod
from tests.operations.conftest import MakesPod, Starts, add_tiles
from tests.support.fleet_process import Pace
from tests.support.fleets import CELLS, SESSION, TENANT, A, B, tile_ids
from tests.support.interrupted_live import InterruptedLive
from tests.support.lossy_world import (
    PACE,
    TILES,
    Backup,
    Dump,
    World,
    assert_kept,
    backup_of,
    emptied,
    restarted,
    restarted_empty,
    versions,
)
from tests.support.polling import eventually
from tests.support.real_pods import by_pod
from tests.support.records import owner_in, record_in

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("lose", [emptied, restarted_empty, restarted])
async def test_owners_keep_their_tiles_at_higher_epochs(world: World, lose: Callable[[World], Awaitable[None]]) -> None:
    before = await world.settled()
    await lose(world)
    after = await world.recovered()
    assert_kept(before, after)
    fleet = await world.fleet()
    terms = [fleet.record(tile_id) for tile_id in after]
    assert {record.owner.reason for record in terms if record and record.owner} == {AssignmentReason.RECOVERED}


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
    era = (await world.fleet()).era
    await world.flushall()
    assert set(await world.recovered(era + 1)) == set(after)


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
    fleet = await world.fleet()
    orphans = [*by_pod(before)[leaver.id], *ids]
    for one in orphans:
        assert owner_in(fleet, one).assigned_at_ms >= flushed_at_ms + PACE.pod_lease_ms
    assert [record_in(fleet, one).capacity for one in ids] == [7.0, 7.0]
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


async def test_a_claim_that_comes_while_the_rest_is_restored_is_decided_before_anything_is_given_away(
    start: Starts, valkey: EmbeddedValkey, make_pod: MakesPod
) -> None:
    interrupted: list[InterruptedLive] = []

    def wrap(live: RedisLiveFleet) -> LiveFleet:
        interrupted.append(InterruptedLive(live))
        return cast(LiveFleet, interrupted[0])

    process = await start(valkey.url, pace=PACE, wrap=wrap)
    (tile,) = await add_tiles(process, 1)
    a = await make_pod(process, A)
    fleet = await process.until(lambda fleet: is_held(fleet, tile, A), "A works on the tile")
    epoch = int(fleet.tiles.owner_epoch[fleet.tiles.row(tile)])
    await a.die()
    late = NewPod(A, "test", 100.0, held={tile: epoch})
    interrupted[0].before["declare_restored"] = lambda: process.registering.register(late)
    async with Redis.from_url(valkey.url) as client:
        await client.flushall()
    fleet = await process.until(lambda fleet: is_owned(fleet, tile), "the tile has an owner again")
    owner = owner_in(fleet, tile)
    assert (owner.pod_id, owner.reason) == (A, AssignmentReason.RECOVERED)
    assert owner.epoch > epoch


def is_owned(fleet: Fleet, tile: TileId) -> bool:
    row = fleet.tiles.row(tile)
    return row is not None and fleet.era > 1 and fleet.owner_id(row) is not None


def is_held(fleet: Fleet, tile: TileId, pod_id: PodId) -> bool:
    row = fleet.tiles.row(tile)
    return row is not None and fleet.owner_id(row) == pod_id and bool(fleet.tiles.owner_acknowledged_ms[row])
