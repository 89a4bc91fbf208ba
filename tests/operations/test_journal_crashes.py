"""A process killed at any step between a change and its readers: no event without its row, no row without its event."""

import asyncio
import contextlib
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from subgraph.adapters.sql.database import Database, open_database, sqlite_url
from subgraph.domain.errors import SessionManagerFailure
from subgraph.domain.ids import SessionId
from subgraph.domain.journal import SessionEventType
from subgraph.domain.new_session import NewSession
from subgraph.domain.sessions import SessionPatch, SessionState
from subgraph.operations.journal.session_events import EventsWanted
from subgraph.operations.sessions.session_changes import SessionChanges
from subgraph.operations.sessions.session_lifecycle import SessionLifecycle
from tests.support.journal_in_memory import JournalInMemory
from tests.support.journal_world import FollowingClient, JournalWorld, Kept, Killed

pytestmark = pytest.mark.anyio

LANES = 10
"""Lives run beside each other, each lane on a database of its own: most of the time they wait."""
STEPS_OF_A_LIFE = 160
LIVES_IN_DATABASES = 40
SOURCE = "trains"


@pytest.fixture
async def databases(tmp_path: Path) -> AsyncIterator[list[Database]]:
    opened = [await open_database(sqlite_url(tmp_path / f"{lane}.sqlite3")) for lane in range(LANES)]
    yield opened
    for database in opened:
        await database.close()


async def in_lanes(lanes: Sequence[Kept], lives: int, life: Callable[[Kept, int], Awaitable[None]]) -> None:
    """Lives from 1 on, one after the other in each lane."""
    numbers = iter(range(1, lives + 1))

    async def lane(kept: Kept) -> None:
        for number in numbers:
            await life(kept, number)

    await asyncio.gather(*map(lane, lanes))


async def attempt(world: JournalWorld, action: str, sessions: list[SessionId], chance: random.Random) -> None:
    """One call of a client, which does not know what came of it if the process dies under it."""
    process = world.process
    with contextlib.suppress(SessionManagerFailure):
        match action:
            case "create":
                made = await process.create(world.caller, NewSession(data_source=SOURCE))
                sessions.append(made.id)
            case "update" if sessions:
                patch = SessionPatch(required_labels={"n": str(chance.random())})
                await SessionChanges(process.sessions).update(world.caller, chance.choice(sessions), patch)
            case "end" if sessions:
                await SessionLifecycle(process.sessions).end(world.caller, chance.choice(sessions))


async def live(world: JournalWorld, actions: list[str], kills: list[int]) -> None:
    """Carry actions out under processes that are killed at steps, then let one go on until all has been told."""
    chance, sessions = world.chance, list[SessionId]()
    client = FollowingClient(world.caller, EventsWanted())
    following = asyncio.create_task(client.follow(world, lambda: chance.random() < 0.1))
    await world.restart(kills.pop(0) if kills else None)
    for action in actions:
        try:
            await attempt(world, action, sessions, chance)
        except Killed:
            await world.restart(kills.pop(0) if kills else None)
        if world.process.died.is_set():
            await world.restart(kills.pop(0) if kills else None)
    await world.rest(client)
    await world.restart(None)
    await world.rest(client)
    following.cancel()
    await asyncio.wait([following])
    await world.process.kill()
    assert client.told == await world.entries()
    await assert_rows_and_events_agree(world)


async def assert_rows_and_events_agree(world: JournalWorld) -> None:
    """Every revision of a session has its event, in order, and every event its revision; stops released the tiles."""
    told = defaultdict(list)
    for entry in await world.entries():
        told[entry.event.session_id].append(entry)
    rows = await world.store.sessions(world.caller.tenant_id, list(told))
    main = await world.store.main_session(world.caller.tenant_id)
    assert rows.keys() == told.keys()
    assert main is None or main.id in rows
    for session_id, entries in told.items():
        session, types = rows[session_id], [entry.event.type for entry in entries]
        assert [entry.sequence for entry in entries] == list(range(1, session.revision + 1))
        assert types[0] is SessionEventType.SESSION_STARTED
        assert set(types[1:-1]) <= {SessionEventType.SESSION_UPDATED}
        is_ended = session.state is SessionState.ENDED
        assert (types[-1] is SessionEventType.SESSION_ENDED) == is_ended
        assert (world.retired[session_id] > 0) == is_ended


async def random_life(kept: Kept, seed: int) -> None:
    """Some changes under some processes, all as a seed has it."""
    chance = random.Random(seed)
    actions = ["create", *chance.choices(["create", "update", "end"], [1, 3, 1], k=chance.randint(1, 4))]
    kills = [chance.randint(1, 40) for _ in range(chance.randint(1, 3))]
    await live(JournalWorld(kept, f"seed {seed}", chance), actions, kills)


async def test_killed_at_every_step_of_a_life_in_turn_nothing_is_half_done_lost_or_told_twice(
    databases: list[Database],
) -> None:
    killed_at = set[str]()

    async def life(kept: Kept, step: int) -> None:
        world = JournalWorld(kept, f"step {step}", random.Random(step))
        await live(world, ["create", "update", "end"], [step])
        killed_at.update(world.killed_at)

    await in_lanes([JournalInMemory() for _ in range(LANES)], STEPS_OF_A_LIFE, life)
    # A life in a database takes longer, so only every third step, which comes to all kinds of them.
    await in_lanes(databases, STEPS_OF_A_LIFE // 3, lambda kept, number: life(kept, 3 * number))
    assert len(killed_at) >= 20, sorted(killed_at)


async def test_random_kills_in_a_database_leave_nothing_half_done_lost_or_told_twice(
    databases: list[Database],
) -> None:
    await in_lanes(databases, LIVES_IN_DATABASES, random_life)


async def test_under_random_kills_a_bus_that_loses_and_clients_that_drop_out_nothing_is_lost_or_told_twice(
    request: pytest.FixtureRequest,
) -> None:
    schedules = request.config.getoption("--journal-schedules")

    async def life(_: Kept, seed: int) -> None:
        await random_life(JournalInMemory(), seed)

    await in_lanes([JournalInMemory() for _ in range(LANES)], schedules, life)
