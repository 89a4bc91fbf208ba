"""The audit of a sink: planted faults are found, and what cannot be known is said."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError
from redis.typing import EncodableT, FieldT

from subgraph.client.audit import AuditFindings, AuditInterrupted, SinkAudit
from subgraph.client.redis_connection import connect
from subgraph.client.redis_sink import RedisSink, sink_key
from subgraph.client.sink import SinkRecord

pytestmark = pytest.mark.anyio

TILE = "session:85283473fffffff"
OTHER_TILE = "session:8528347bfffffff"


@pytest.fixture
async def redis(valkey_url: str) -> AsyncIterator[Redis]:
    async with connect(valkey_url) as client:
        yield client


@pytest.fixture
def name() -> str:
    return f"sink-{uuid4()}"


def records(*sequences: int) -> list[SinkRecord]:
    return [SinkRecord(sequence, b"") for sequence in sequences]


async def plant(redis: Redis, name: str, tile_id: str, first: int, count: int, epoch: int) -> None:
    entry: dict[FieldT, EncodableT] = {
        "tile": tile_id,
        "first": first,
        "count": count,
        "epoch": epoch,
        "writer": "planted",
    }
    await redis.xadd(sink_key(name, "accepted"), entry)


async def audited(redis: Redis, name: str) -> AuditFindings:
    audit = SinkAudit(redis, name)
    while await audit.follow():
        pass
    return audit.findings


async def test_a_sink_nobody_wrote_to_has_nothing_to_find(redis: Redis, name: str) -> None:
    assert await audited(redis, name) == AuditFindings(0, 0, 0, 0, 0)


async def test_a_sound_history_shows_its_accepted_records_and_its_gaps(redis: Redis, name: str) -> None:
    sink = RedisSink(redis, name, "writer")
    await sink.write(TILE, 1, records(1, 2, 3, 6))
    await sink.write(TILE, 1, records(2, 3, 6, 7))
    await sink.write(OTHER_TILE, 1, records(1))
    await sink.raise_epoch(TILE, 2)
    audit = SinkAudit(redis, name)
    assert await audit.follow() == 5
    assert audit.findings == AuditFindings(6, 0, 0, 2, 0)
    assert audit.accepted_spans(TILE) == [(1, 3), (6, 7)]
    assert audit.accepted_spans("unknown") == []


async def test_a_planted_double_accept_is_found_record_by_record(redis: Redis, name: str) -> None:
    sink = RedisSink(redis, name, "writer")
    await sink.write(TILE, 1, records(1, 2, 3, 4, 5))
    await plant(redis, name, TILE, first=4, count=4, epoch=1)
    await plant(redis, name, OTHER_TILE, first=4, count=4, epoch=1)
    assert await audited(redis, name) == AuditFindings(13, 2, 0, 0, 0)


async def test_a_planted_regression_of_the_epoch_is_found(redis: Redis, name: str) -> None:
    await RedisSink(redis, name, "writer").write(TILE, 5, records(1))
    await plant(redis, name, TILE, first=2, count=1, epoch=4)
    await plant(redis, name, TILE, first=3, count=1, epoch=4)
    await plant(redis, name, TILE, first=4, count=1, epoch=5)
    await plant(redis, name, OTHER_TILE, first=1, count=1, epoch=1)
    assert await audited(redis, name) == AuditFindings(5, 0, 2, 0, 0)


async def test_a_write_after_a_mere_raise_is_a_regression_too(redis: Redis, name: str) -> None:
    sink = RedisSink(redis, name, "writer")
    await sink.write(TILE, 1, records(1))
    await sink.raise_epoch(TILE, 2)
    await plant(redis, name, TILE, first=2, count=1, epoch=1)
    assert await audited(redis, name) == AuditFindings(2, 0, 1, 0, 0)


async def test_a_raise_that_raises_nothing_leaves_no_entry(redis: Redis, name: str) -> None:
    sink = RedisSink(redis, name, "writer")
    for _ in range(3):
        await sink.raise_epoch(TILE, 2)
    assert await redis.xlen(sink_key(name, "accepted")) == 1


async def test_entries_name_their_writer(redis: Redis, name: str) -> None:
    await RedisSink(redis, name, "pod-7").write(TILE, 3, records(5, 6, 9))
    entries = await redis.xrange(sink_key(name, "accepted"))
    assert entries is not None
    assert [fields for _, fields in entries] == [
        {b"tile": TILE.encode(), b"first": first, b"count": count, b"epoch": b"3", b"writer": b"pod-7"}
        for first, count in ((b"5", b"2"), (b"9", b"1"))
    ]


async def test_the_audit_reads_on_where_it_stopped(redis: Redis, name: str) -> None:
    sink, audit = RedisSink(redis, name, "writer"), SinkAudit(redis, name)
    assert await audit.follow() == 0
    for sequence in range(1, 6):
        await sink.write(TILE, 1, records(sequence))
    assert [await audit.follow(entries_max=2) for _ in range(4)] == [2, 2, 1, 0]
    await sink.write(TILE, 1, records(6))
    await plant(redis, name, TILE, first=1, count=1, epoch=1)
    assert await audit.follow() == 2
    assert audit.findings == AuditFindings(7, 1, 0, 0, 0)


async def test_entries_trimmed_unread_are_counted_as_lost(redis: Redis, name: str) -> None:
    sink, audit = RedisSink(redis, name, "writer"), SinkAudit(redis, name)
    for sequence in range(1, 11):
        await sink.write(TILE, 1, records(sequence))
    assert await audit.follow(entries_max=3) == 3
    await redis.xtrim(sink_key(name, "accepted"), maxlen=4, approximate=False)
    assert await audit.follow() == 4
    assert await audit.follow() == 0
    assert audit.findings == AuditFindings(7, 0, 0, 3, 3)


async def test_the_stream_is_trimmed_to_about_its_length(redis: Redis, name: str) -> None:
    sink = RedisSink(redis, name, "writer", accepted_length_max=100)
    for start in range(1, 3_001, 1_000):
        await sink.write(TILE, 1, records(*range(start * 2, start * 2 + 2_000, 2)))
    length = await redis.xlen(sink_key(name, "accepted"))
    assert 100 <= length < 1_000
    findings = await audited(redis, name)
    assert (findings.accepted, findings.entries_lost) == (length, 3_000 - length)


async def test_a_stream_that_was_lost_stops_the_audit(redis: Redis, name: str) -> None:
    audit = SinkAudit(redis, name)
    await RedisSink(redis, name, "writer").write(TILE, 1, records(1, 2, 5))
    await audit.follow()
    await redis.delete(sink_key(name, "accepted"))
    with pytest.raises(AuditInterrupted, match="has had 0 entries, but 2 were seen"):
        await audit.follow()
    assert audit.findings == AuditFindings(3, 0, 0, 2, 0)


async def test_a_key_that_is_no_stream_is_an_error_not_an_empty_audit(redis: Redis, name: str) -> None:
    await redis.set(sink_key(name, "accepted"), "text")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await SinkAudit(redis, name).follow()
