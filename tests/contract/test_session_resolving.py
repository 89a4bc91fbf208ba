"""Chat clients come by their sessions on every database and a real Redis: one each, whoever else uses the same id."""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from subgraph.adapters.redis.client_sessions import RedisClientSessions
from subgraph.adapters.sql.database import Database
from subgraph.adapters.sql.session_directory import SqlSessionDirectory
from subgraph.adapters.sql.session_store import SqlSessionStore
from subgraph.domain.access import Caller, Scope
from subgraph.domain.errors import InvalidInput
from subgraph.domain.ids import TenantId
from subgraph.domain.prompt_session import MAPPING_TTL, MESSAGES_MAX, PromptMessage, PromptRole
from subgraph.domain.session_ref import RefKind
from subgraph.domain.sessions import Session, SessionState
from subgraph.operations.sessions.session_lifecycle import SessionLifecycle
from subgraph.operations.sessions.session_resolving import SessionResolving
from subgraph.operations.sessions.sessions import Sessions

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.requirement("Resolve, for OpenAI-style clients: no id given"),
]

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass
class World:
    database: Database
    redis: Redis
    tenant: TenantId
    now: datetime = NOW
    lives_for: timedelta = MAPPING_TTL
    suffixes: "count[int]" = field(default_factory=lambda: count(1))

    def caller(self, owner: str) -> Caller:
        return Caller(self.tenant, owner, frozenset({Scope.SESSION_WRITE}))

    @property
    def sessions(self) -> Sessions:
        return Sessions(SqlSessionStore(self.database), lambda: self.now, lambda: None)

    def process(self) -> SessionResolving:
        clients = RedisClientSessions(self.redis, self.lives_for)
        directory = SqlSessionDirectory(self.database)
        return SessionResolving(self.sessions, directory, clients, lambda: f"{next(self.suffixes):08x}")


@pytest.fixture
def world(database: Database, redis: Redis) -> World:
    return World(database, redis, TenantId(f"tenant-{uuid4().hex}"))


async def test_who_comes_back_under_its_id_finds_its_session_with_its_time_begun_anew(world: World) -> None:
    ann, resolving = world.caller("ann"), world.process()
    first = await resolving.resolve(ann, "chat-1", [])
    assert (first.client_id, first.is_new, first.was_collision, first.message_count) == ("chat-1", True, False, 1)
    assert (first.session.external_id, first.session.owner_id) == ("chat-1", "ann")
    world.now += timedelta(hours=700)
    second = await resolving.resolve(ann, "chat-1", [])
    assert (second.session.id, second.is_new, second.message_count) == (first.session.id, False, 2)
    assert second.session.last_active_at == world.now
    assert second.session.expires_at == world.now + timedelta(hours=720)


async def test_a_prompt_of_too_many_messages_is_refused_also_where_an_id_is_given(world: World) -> None:
    said = [PromptMessage(PromptRole.USER, "hello")] * (MESSAGES_MAX + 1)
    with pytest.raises(InvalidInput) as refused:
        await world.process().resolve(world.caller("ann"), "chat-1", said)
    assert refused.value.path == ("messages",)


async def test_without_an_id_the_same_beginning_leads_to_the_same_session_of_the_same_owner(world: World) -> None:
    resolving = world.process()
    asked = [PromptMessage(PromptRole.USER, "hello")]
    first = await resolving.resolve(world.caller("ann"), None, asked)
    again = await resolving.resolve(world.caller("ann"), None, [*asked, PromptMessage(PromptRole.USER, "more")])
    other = await resolving.resolve(world.caller("bob"), None, asked)
    assert first.client_id.startswith("oai-")
    assert len(first.client_id) == 20
    assert (again.session.id, again.is_new) == (first.session.id, False)
    assert (other.is_new, other.was_collision) == (True, False)
    assert other.client_id != first.client_id


async def test_anothers_id_becomes_a_new_one_and_stays_the_others(world: World) -> None:
    ann, bob, resolving = world.caller("ann"), world.caller("bob"), world.process()
    of_ann = await resolving.resolve(ann, "chat", [])
    of_bob = await resolving.resolve(bob, "chat", [])
    assert (of_bob.client_id, of_bob.is_new, of_bob.was_collision) == ("oai-00000001", True, True)
    assert of_bob.session.external_id == "oai-00000001"
    assert (await resolving.resolve(ann, "chat", [])).session.id == of_ann.session.id
    again = await resolving.resolve(bob, of_bob.client_id, [])
    assert (again.session.id, again.is_new, again.was_collision) == (of_bob.session.id, False, False)


async def test_an_id_that_was_not_used_for_a_day_is_free_for_others_and_its_owner_keeps_its_session(
    world: World,
) -> None:
    world.lives_for = timedelta(milliseconds=50)
    ann, bob, resolving = world.caller("ann"), world.caller("bob"), world.process()
    of_ann = await resolving.resolve(ann, "chat", [])
    world.now += MAPPING_TTL + timedelta(seconds=1)
    await asyncio.sleep(0.1)
    of_bob = await resolving.resolve(bob, "chat", [])
    assert (of_bob.client_id, of_bob.is_new, of_bob.was_collision) == ("chat", True, False)
    again = await resolving.resolve(ann, "chat", [])
    assert (again.session.id, again.is_new, again.client_id) == (of_ann.session.id, False, "chat")


async def test_a_mapping_that_was_lost_gives_nobodys_id_away(world: World) -> None:
    ann, bob, resolving = world.caller("ann"), world.caller("bob"), world.process()
    of_ann = await resolving.resolve(ann, "chat", [])
    keys = [key async for key in world.redis.scan_iter(f"{world.tenant}:*")]
    assert await world.redis.delete(*keys) == 1
    assert (await resolving.resolve(bob, "chat", [])).was_collision
    again = await resolving.resolve(ann, "chat", [])
    assert (again.session.id, again.is_new, again.message_count) == (of_ann.session.id, False, 1)


async def test_a_session_that_is_revived_while_its_id_is_resolved_keeps_it(world: World) -> None:
    ann, resolving = world.caller("ann"), world.process()
    first = await resolving.resolve(ann, "chat", [])
    world.now += timedelta(hours=721)

    class RevivedMeanwhile(SqlSessionDirectory):
        async def bearing(
            self, tenant_id: TenantId, kind: RefKind, text: str, owner_id: str | None, limit: int
        ) -> list[Session]:
            found = await super().bearing(tenant_id, kind, text, owner_id, limit)
            await SessionLifecycle(world.sessions).extend(ann, first.session.id, timedelta(hours=1))
            return found

    second = await replace(resolving, directory=RevivedMeanwhile(world.database)).resolve(ann, "chat", [])
    assert (second.session.id, second.is_new, second.session.external_id) == (first.session.id, False, "chat")


async def test_a_session_that_has_stopped_gives_its_id_to_a_new_one(world: World) -> None:
    ann, resolving = world.caller("ann"), world.process()
    ended = await resolving.resolve(ann, "chat", [])
    await SessionLifecycle(world.sessions).end(ann, ended.session.id)
    second = await resolving.resolve(ann, "chat", [])
    assert (second.is_new, second.client_id) == (True, "chat")
    world.now += timedelta(hours=721)
    third = await resolving.resolve(ann, "chat", [])
    assert third.is_new
    found = await world.sessions.get_many(ann, [ended.session.id, second.session.id, third.session.id])
    assert [one.external_id for one in found.values()].count("chat") == 1
    assert found[third.session.id].external_id == "chat"
    assert found[ended.session.id].state is SessionState.ENDED


async def test_a_deleted_session_is_not_found_under_its_id(world: World) -> None:
    ann, resolving = world.caller("ann"), world.process()
    first = await resolving.resolve(ann, "chat", [])
    await SessionLifecycle(world.sessions).delete(ann, first.session.id)
    assert (await resolving.resolve(ann, "chat", [])).is_new


async def test_many_first_calls_at_once_make_one_session_an_owner(world: World) -> None:
    processes = [world.process(), world.process()]
    owners = ["ann", "bob"]
    calls = [processes[n % 2].resolve(world.caller(owners[n // 2 % 2]), "chat", []) for n in range(20)]
    answers = await asyncio.gather(*calls)
    of_winner = [one for one in answers if one.client_id == "chat"]
    assert len({one.session.id for one in of_winner}) == 1
    assert len({one.session.owner_id for one in of_winner}) == 1
    assert [one.is_new for one in of_winner].count(True) == 1
    assert sorted(one.message_count for one in of_winner) == [*range(1, 11)]
    assert all(one.was_collision for one in answers if one.client_id != "chat")
    assert len({one.session.id for one in answers}) == 11


async def test_touching_changes_when_the_session_was_active_and_nothing_else_and_not_all_the_time(world: World) -> None:
    ann, resolving = world.caller("ann"), world.process()
    first = await resolving.resolve(ann, "chat", [])
    assert (await resolving.resolve(ann, "chat", [])).session == first.session
    world.now += timedelta(hours=1)
    second = await resolving.resolve(ann, "chat", [])
    assert second.session == replace(
        first.session,
        revision=first.session.revision + 1,
        last_active_at=world.now,
        updated_at=world.now,
        expires_at=world.now + timedelta(hours=720),
    )
