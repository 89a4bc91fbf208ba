"""What callers are shown of sessions, on cold and warm copies: their own tenant's, as they may see it, and as it is."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from redis.asyncio import Redis

from subgraph.adapters.prometheus.session_metrics import PREFIX, SessionReadsCollector
from subgraph.adapters.redis import event_bus
from subgraph.adapters.redis.all_session_copies import forget_all_copies
from subgraph.adapters.valkey.embedded_valkey import EmbeddedValkey
from subgraph.domain import sessions
from subgraph.domain.access import Caller, Scope
from subgraph.domain.errors import Unavailable
from subgraph.domain.expiry import ExpiryPolicy
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.new_session import NewSession
from subgraph.domain.sessions import SessionChange, SessionState
from subgraph.operations.sessions.session_blobs import COPY_BYTES_MAX, SessionKey
from subgraph.operations.sessions.session_ports import SessionStore
from subgraph.operations.sessions.sessions import Sessions
from tests.support.own_valkey import kill
from tests.support.polling import eventually
from tests.support.session_replicas import TENANT, Replica, Truth, hears, new_session, next_of, replica
from tests.support.silent_proxy import SilentProxy

pytestmark = pytest.mark.anyio

OTHER_TENANT = TenantId("other")
OWNER = Caller(TENANT, "owner", frozenset({Scope.SESSION_READ}))
OF_THE_SAME_TENANT = Caller(TENANT, "somebody", frozenset({Scope.SESSION_READ}))
READS_THE_TENANT = Caller(TENANT, "service", frozenset({Scope.TENANT_READ}))
FOREIGN = Caller(OTHER_TENANT, "owner", frozenset({Scope.ADMIN}))


@pytest.fixture
def truth() -> Truth:
    return Truth()


@pytest.fixture
async def process(valkey_url: str, fleet_id: str, truth: Truth) -> AsyncIterator[Replica]:
    async with replica(valkey_url, fleet_id, truth) as one:
        yield one


def shown_by(process: Replica) -> Sessions:
    store = cast(SessionStore, process.truth)
    return Sessions(store, lambda: datetime.now(UTC), lambda: None, reads=process.reads)


@pytest.mark.requirement("Owner and tenant come from the authenticated caller. A caller sees")
@pytest.mark.parametrize("warmed_by", [None, OWNER, READS_THE_TENANT, FOREIGN, OF_THE_SAME_TENANT])
async def test_who_may_not_see_a_session_is_not_shown_it_on_a_cold_or_a_warm_copy(
    process: Replica, truth: Truth, warmed_by: Caller | None
) -> None:
    session = new_session(owner_id="owner")
    truth.hold(session)
    shown = shown_by(process)
    for _ in range(2 if warmed_by else 0):
        assert warmed_by is not None
        await shown.shown(warmed_by, [session.id])
    for caller, may_see in ((FOREIGN, False), (OF_THE_SAME_TENANT, False), (OWNER, True), (READS_THE_TENANT, True)) * 2:
        assert await shown.shown(caller, [session.id]) == ({session.id: session} if may_see else {})


async def test_that_a_session_is_absent_is_remembered_for_nobody(process: Replica, truth: Truth) -> None:
    session = new_session()
    for caller in (OWNER, FOREIGN) * 2:
        assert await shown_by(process).shown(caller, [session.id]) == {}
    await process.change(SessionChange(created=(session,)))
    assert await shown_by(process).shown(OWNER, [session.id]) == {session.id: session}


async def test_a_session_whose_time_runs_out_is_shown_as_expired_from_a_copy(process: Replica, truth: Truth) -> None:
    wanted = NewSession(ttl=timedelta(seconds=60), expiry_policy=ExpiryPolicy.FIXED)
    now = datetime.now(UTC)
    session = sessions.create(wanted, TENANT, "owner", now).created[0]
    truth.hold(session)
    moments = iter([now, now + timedelta(seconds=59), now + timedelta(seconds=61)])
    shown = Sessions(cast(SessionStore, truth), lambda: next(moments), lambda: None, reads=process.reads)
    states = [(await shown.shown(OWNER, [session.id]))[session.id].state for _ in range(3)]
    assert states == [SessionState.ACTIVE, SessionState.ACTIVE, SessionState.EXPIRED]
    assert len(truth.asked) == 1


async def test_many_are_one_load_of_what_is_nowhere_else(process: Replica, truth: Truth) -> None:
    held = [new_session() for _ in range(60)]
    truth.hold(*held)
    ids = [session.id for session in held]
    assert len(await process.reads.sessions(TENANT, ids[:20])) == 20
    found = await process.reads.sessions(TENANT, [*ids[:30], *ids[:30]])
    assert found == {session.id: session for session in held[:30]}
    assert truth.asked == [ids[:20], ids[20:30]]


async def test_a_large_session_is_read_in_sql_every_time_and_takes_no_memory(process: Replica, truth: Truth) -> None:
    small, large = new_session(), replace(new_session(), context={"said": COPY_BYTES_MAX * "x"})
    truth.hold(small, large)
    for _ in range(3):
        assert await process.reads.sessions(TENANT, [small.id, large.id]) == {small.id: small, large.id: large}
    assert process.cache.size == 1
    assert truth.asked == [[small.id, large.id], [large.id], [large.id]]


async def test_ids_that_are_none_are_answered_as_absent(process: Replica, truth: Truth) -> None:
    session = new_session()
    truth.hold(session)
    odd = [SessionId("\ud800"), SessionId("\0"), SessionId("x" * 5_000), SessionId(""), SessionId("{}{")]
    for ids in (odd, [*odd, session.id], [session.id]):
        assert await process.reads.sessions(TENANT, ids) == ({session.id: session} if session.id in ids else {})
    await process.change(SessionChange(updated=next_of(session).updated))
    async with process.cache.changing([(TENANT, one) for one in odd]):
        pass
    assert await process.read(session) == truth.sessions_of[session.id]


@pytest.mark.requirement("A local cache in front of Redis: least recently used, at most")
async def test_hits_misses_evictions_and_size_are_metrics(
    valkey_url: str, fleet_id: str, truth: Truth, redis: Redis
) -> None:
    held = [new_session() for _ in range(5)]
    truth.hold(*held)
    async with (
        replica(valkey_url, fleet_id, truth, entries_max=4) as one,
        replica(valkey_url, fleet_id, truth, entries_max=4) as other,
    ):
        for session in held:
            await one.read(session)  # nowhere; the fifth makes room
        await one.read(held[-1])  # in this process
        await other.read(held[0])  # in Redis
        await other.change(next_of(held[0]))
        await one.read(held[0])
        told = {
            (*sample.labels.values(), sample.name): sample.value
            for metric in SessionReadsCollector("fleet", "process", one.cache).collect()
            for sample in metric.samples
        }
        of_other = other.cache.facts
    counted = {(*names[2:],): value for names, value in told.items()}
    assert counted["local", "hit", f"{PREFIX}_reads_total"] == 1
    assert counted["local", "miss", f"{PREFIX}_reads_total"] == 6
    assert counted["redis", "miss", f"{PREFIX}_reads_total"] == 6
    assert counted["redis", "passed_by", f"{PREFIX}_reads_total"] == 0
    assert counted[f"{PREFIX}_copies_evicted_total",] == 2
    assert counted[f"{PREFIX}_copies",] == 4
    assert counted[f"{PREFIX}_copies_outdated_total",] == 1
    assert (of_other.shared_hits, of_other.shared_misses) == (1, 0)


async def test_a_process_whose_listener_fell_silent_shows_what_is_new_and_listens_again(
    valkey_url: str, fleet_id: str, truth: Truth, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_bus, "SUBSCRIBE_TIMEOUT_SECONDS", 0.2)
    session = new_session()
    truth.hold(session)
    async with (
        SilentProxy(valkey_url.removeprefix("unix://")) as proxy,
        replica(proxy.url, fleet_id, truth) as process,
        replica(valkey_url, fleet_id, truth) as other,
    ):
        assert await process.read(session) == session
        await proxy.fall_silent()
        await other.change(next_of(session))
        assert await process.read(session) == next_of(session).updated[0]
        await eventually(lambda: hears(process), "it listens again")


async def test_once_all_copies_are_forgotten_every_process_shows_what_sql_holds_though_it_is_older(
    valkey_url: str, fleet_id: str, truth: Truth, redis: Redis
) -> None:
    session = new_session()
    truth.hold(session)
    async with replica(valkey_url, fleet_id, truth) as one, replica(valkey_url, fleet_id, truth) as other:
        await one.change(next_of(session))
        for process in (one, other) * 2:
            assert await process.read(session) == next_of(session).updated[0]
        truth.hold(session)
        await forget_all_copies(redis, fleet_id)
        for process in (one, other) * 2:
            assert await process.read(session) == session


async def test_without_redis_sql_is_read_and_that_is_counted(truth: Truth, valkey: EmbeddedValkey) -> None:
    session = new_session()
    truth.hold(session)
    async with replica(valkey.url, "fleet", truth) as process:
        await process.read(session)
        await kill(valkey)
        for _ in range(3):
            assert await process.read(session) == session
        assert process.cache.facts.bypassed == 3
    assert len(truth.asked) == 4


async def test_a_fence_that_stands_but_was_not_announced_leaves_no_stale_copy_in_another_process(
    process: Replica, valkey_url: str, fleet_id: str, truth: Truth, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = new_session()
    truth.hold(session)
    fence = process.blobs.fence

    async def fence_unheard(keys: Sequence[SessionKey], token: str) -> None:
        with monkeypatch.context() as unheard:
            unheard.setattr(process.blobs, "_publish", never_answered)
            await fence(keys, token)

    monkeypatch.setattr(process.blobs, "fence", fence_unheard)
    async with replica(valkey_url, fleet_id, truth) as other:
        assert await other.read(session) == session
        await process.change(next_of(session))
        assert await other.read(session) == truth.sessions_of[session.id] != session


async def never_answered(_: object) -> None:
    raise Unavailable("the store of copies did not answer in time")
