"""Unregistering tiles: SQL first, then the handoff; whoever races, whatever has split, and whatever is cut short."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import h3.api.basic_int as h3
import pytest

from subgraph.adapters.sql.coverage_register import SqlCoverageRegister
from subgraph.adapters.sql.database import Database, open_database, sqlite_url
from subgraph.adapters.sql.session_store import SqlSessionStore
from subgraph.domain.access import ALL_SCOPES, Caller, Scope
from subgraph.domain.coverage.cells import cell_array
from subgraph.domain.errors import IllegalState, InvalidInput, NotAllowed, NotFound, Unavailable
from subgraph.domain.ids import SessionId, TenantId, TileId, tile_id
from subgraph.domain.new_session import NewSession
from subgraph.domain.registration import RegisteredCells, TileTemplate
from subgraph.domain.sessions import Session, create
from subgraph.domain.succession import children_of, merge, split
from subgraph.operations.coverage.partition import Partition
from subgraph.operations.coverage.retirement import Retirement
from subgraph.operations.coverage.unregistering import SESSIONS_PER_CALL_MAX, Unregistering
from subgraph.operations.fleet.fleet_writes import TileWrite
from subgraph.operations.fleet.live_fleet import LiveFleet
from subgraph.operations.sessions.session_lifecycle import SessionLifecycle
from subgraph.operations.sessions.sessions import Sessions
from tests.operations.conftest import MakesPod, Starts
from tests.support.fleet_process import FleetProcess
from tests.support.fleets import CELLS, TENANT, A
from tests.support.interrupted_live import InterruptedLive
from tests.support.partitions import partition_of, tile_making_of
from tests.support.polling import eventually

pytestmark = pytest.mark.anyio

CALLER = Caller(TENANT, "ann", ALL_SCOPES)
TEMPLATE = TileTemplate(capacity=3.0)


@dataclass
class World:
    """A session with a few tiles, and who registers and unregisters them."""

    process: FleetProcess
    session: Session
    sessions: Sessions
    register: SqlCoverageRegister
    partition: Partition
    unregistering: Unregistering
    brought_back: list[SessionId] = field(default_factory=list)

    def tile(self, cell: int) -> TileId:
        return tile_id(self.session.id, cell)

    def covered(self) -> list[int]:
        return sorted(self.process.view.current().tiles.coverage(self.session.id))

    async def registered(self) -> list[int]:
        return sorted((await self.register.of_session(self.session.id)).cells.tolist())

    async def split(self, cell: int) -> list[int]:
        """Split a tile that nobody owns; its parts."""
        live, tile = self.process.live, self.tile(cell)
        stored = (await live.read_tiles([tile]))[tile]
        parts = split(tile, stored.record, 0, self.process.view.now_ms())
        writes = [TileWrite(one, stored.version if one == tile else 0, after) for one, after in parts.items()]
        committed = await live.commit(None, [], groups=[writes])
        assert not committed.tile_conflicts
        await self.process.view.caught_up(committed.version, 5.0)
        return sorted(h3.cell_to_children(cell))


async def new_session(sessions: Sessions, caller: Caller) -> Session:
    change = create(NewSession(), caller.tenant_id, caller.owner_id, datetime.now(UTC))
    await sessions.commit(change)
    return change.created[0]


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await open_database(sqlite_url(tmp_path / "sessions.sqlite3"))
    yield opened
    await opened.close()


@pytest.fixture
async def world(start: Starts, database: Database, fleet_id: str) -> World:
    process = await start()
    store = SqlSessionStore(database)
    sessions = Sessions(store, lambda: datetime.now(UTC), lambda: None)
    session = await new_session(sessions, CALLER)
    register = SqlCoverageRegister(database, fleet_id)
    partition = partition_of(sessions, store, register, process.live, process.view)
    await partition.register(CALLER, session.id, CELLS[:4], TEMPLATE)
    brought_back: list[SessionId] = []

    async def bring_back(_: TenantId, session_id: SessionId) -> None:
        brought_back.append(session_id)

    retirement = Retirement(process.live, process.view)
    unregistering = Unregistering(sessions, register, process.view, retirement, bring_back)
    return World(process, session, sessions, register, partition, unregistering, brought_back)


async def test_what_is_unregistered_is_gone_from_sql_and_from_the_fleet_and_asking_again_changes_nothing(
    world: World,
) -> None:
    gone = [world.tile(cell) for cell in CELLS[:2]]
    assert await world.unregistering.unregister(CALLER, gone) == []
    assert await world.registered() == world.covered() == sorted(CELLS[2:4])
    revision = await world.register.revision(world.session.id)
    assert await world.unregistering.unregister(CALLER, [*gone, *gone]) == []
    assert await world.register.revision(world.session.id) == revision
    assert await world.unregistering.unregister(CALLER, [world.tile(cell) for cell in CELLS[2:4]]) == []
    assert await world.registered() == world.covered() == []


async def test_an_owned_tile_is_drained_by_its_pod_and_nobody_follows(world: World, make_pod: MakesPod) -> None:
    await make_pod(world.process, A)
    tile, fleet = world.tile(CELLS[0]), world.process.view.current
    await eventually(
        lambda: (record := fleet().record(tile)) is not None and record.owner is not None, "the tile has an owner"
    )
    await world.unregistering.unregister(CALLER, [tile])
    assert CELLS[0] not in world.covered()
    await eventually(lambda: fleet().record(tile) is None, "its pod has let go")
    assert len(world.covered()) == 3


async def test_a_tile_that_has_split_goes_with_its_parts_and_of_one_part_the_others_stay(world: World) -> None:
    whole, halved = CELLS[0], CELLS[1]
    await world.split(whole)
    parts = await world.split(halved)
    assert await world.unregistering.unregister(CALLER, [world.tile(whole), world.tile(parts[3])]) == []
    left = sorted([*parts[:3], *parts[4:], *CELLS[2:4]])
    assert await world.registered() == world.covered() == left
    assert await world.unregistering.unregister(CALLER, list(children_of(world.tile(halved)))) == []
    assert await world.registered() == world.covered() == sorted(CELLS[2:4])


async def test_a_place_inside_a_tile_is_no_tile_of_its_own(world: World) -> None:
    child = sorted(h3.cell_to_children(CELLS[0]))[0]
    (refused,) = await world.unregistering.unregister(CALLER, [world.tile(child)])
    assert isinstance(refused, InvalidInput)
    assert world.tile(CELLS[0]) in refused.message
    assert world.covered() == sorted(CELLS[:4])


async def test_tiles_are_refused_one_by_one_and_the_others_are_done(world: World) -> None:
    stopped = await new_session(world.sessions, CALLER)
    await SessionLifecycle(world.sessions).end(CALLER, stopped.id)
    foreign = await new_session(world.sessions, Caller(TenantId("other"), "eve", ALL_SCOPES))
    wanted = [tile_id(one, CELLS[0]) for one in (foreign.id, SessionId("unknown"), stopped.id, world.session.id)]
    refused = await world.unregistering.unregister(CALLER, [*wanted, TileId("no tile")])
    assert [(type(one), one.path) for one in refused] == [
        (NotFound, ("tileIds", "0")),
        (NotFound, ("tileIds", "1")),
        (IllegalState, ("tileIds", "2")),
        (InvalidInput, ("tileIds", "4")),
    ]
    assert world.covered() == sorted(CELLS[1:4])
    reader = replace(CALLER, owner_id="bob", scopes=frozenset({Scope.SESSION_WRITE, Scope.TENANT_READ}))
    (not_allowed,) = await world.unregistering.unregister(reader, [world.tile(CELLS[1])])
    assert isinstance(not_allowed, NotAllowed)
    assert world.covered() == sorted(CELLS[1:4])


async def test_a_call_has_a_bound_of_tiles_and_of_sessions(world: World) -> None:
    for wanted, limit in (
        ([], "1,000 tiles"),
        ([world.tile(CELLS[0])] * 1_001, "1,000 tiles"),
        ([tile_id(SessionId(f"s{n}"), CELLS[0]) for n in range(SESSIONS_PER_CALL_MAX + 1)], "100 sessions"),
    ):
        with pytest.raises(InvalidInput) as refused:
            await world.unregistering.unregister(CALLER, wanted)
        assert (refused.value.path, refused.value.limit) == (("tileIds",), limit)


async def test_who_repeats_a_call_that_was_cut_short_has_the_tiles_retire(world: World) -> None:
    live = InterruptedLive(world.process.live)

    async def fail() -> None:
        raise Unavailable("the store went away")

    live.before["commit"] = fail
    retirement = Retirement(cast(LiveFleet, live), world.process.view)
    interrupted = replace(world.unregistering, retirement=retirement)
    with pytest.raises(Unavailable):
        await interrupted.unregister(CALLER, [world.tile(CELLS[0])])
    assert await world.registered() == sorted(CELLS[1:4])
    assert CELLS[0] in world.covered()
    assert await interrupted.unregister(CALLER, [world.tile(CELLS[0])]) == []
    assert world.covered() == sorted(CELLS[1:4])


async def test_who_registers_what_another_unregisters_at_that_moment_leaves_no_tile_that_is_not_registered(
    world: World,
) -> None:
    live = InterruptedLive(world.process.live)

    async def unregister() -> None:
        await world.unregistering.unregister(CALLER, [world.tile(CELLS[5])])

    live.before["commit"] = unregister
    making = tile_making_of(world.register, cast(LiveFleet, live), world.process.view)
    registering = replace(world.partition, tile_making=making)
    await registering.register(CALLER, world.session.id, CELLS[5:6], TEMPLATE)
    assert await world.registered() == world.covered() == sorted(CELLS[:4])


async def test_what_another_registers_anew_at_that_moment_comes_back(world: World) -> None:
    live = InterruptedLive(world.process.live)

    async def register() -> None:
        (part,) = (await world.register.of_session(world.session.id)).parts
        again = RegisteredCells(cell_array(CELLS[:1]), part.template)
        await world.register.add(world.session.id, again, await world.register.revision(world.session.id))

    live.before["commit"] = register
    racing = replace(world.unregistering, retirement=Retirement(cast(LiveFleet, live), world.process.view))
    await racing.unregister(CALLER, [world.tile(CELLS[0])])
    assert world.brought_back == [world.session.id]


async def test_parts_that_merge_at_that_moment_retire_as_the_one_they_became(world: World) -> None:
    parts = await world.split(CELLS[0])
    live = InterruptedLive(world.process.live)

    whole = world.tile(CELLS[0])

    async def merge_parts() -> None:
        # The tile that has split is forgotten at some moment: until it is, it stands in the way of its return.
        await eventually(is_merged, "they have merged")

    async def is_merged() -> bool:
        stored = await world.process.live.read_tiles([whole, *map(world.tile, parts)])
        children = {one: stored[one].record for one in map(world.tile, parts)}
        merged = merge(whole, children, 0, world.process.view.now_ms())
        writes = [TileWrite(one, stored[one].version if one in stored else 0, it) for one, it in merged.items()]
        return not (await world.process.live.commit(None, [], groups=[writes])).tile_conflicts

    live.before["commit"] = merge_parts
    racing = replace(world.unregistering, retirement=Retirement(cast(LiveFleet, live), world.process.view))
    await racing.unregister(CALLER, [world.tile(parts[0])])
    assert await world.registered() == sorted([*parts[1:], *CELLS[1:4]])
    assert not world.process.view.current().tiles.coverage(world.session.id).covers(parts[0])
    assert world.brought_back == [world.session.id]


async def test_many_calls_at_once_take_out_what_each_asked_for(world: World) -> None:
    await asyncio.gather(*(world.unregistering.unregister(CALLER, [world.tile(cell)]) for cell in CELLS[:3]))
    assert await world.registered() == world.covered() == CELLS[3:4]
