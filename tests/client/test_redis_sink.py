"""The sink in Redis beyond the promises of every sink: its audit agrees, and its server may forget scripts."""

import asyncio
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subgraph.client.audit import AuditFindings, SinkAudit
from subgraph.client.redis_connection import connect
from subgraph.client.redis_sink import RedisSink
from subgraph.client.sink import SinkReceipt, SinkRecord, SinkWrite

pytestmark = pytest.mark.anyio

TILES = ("session:85283473fffffff", "session:8528347bfffffff")
WRITES = st.tuples(st.sampled_from(TILES), st.integers(1, 4), st.lists(st.integers(1, 12), max_size=6))


def records(*sequences: int) -> list[SinkRecord]:
    return [SinkRecord(sequence, b"") for sequence in sequences]


@pytest.mark.parametrize(("name", "length"), [("a{b", 1), ("a}b", 1), ("a", 0)])
async def test_a_name_that_would_change_the_hash_tag_and_an_empty_stream_are_refused(
    valkey_url: str, name: str, length: int
) -> None:
    async with connect(valkey_url) as redis:
        with pytest.raises(ValueError, match=r"braces|stream"):
            RedisSink(redis, name, "writer", length)


async def test_the_sink_survives_a_server_that_forgot_its_scripts(valkey_url: str) -> None:
    async with connect(valkey_url) as redis:
        sink = RedisSink(redis, f"sink-{uuid4()}", "writer")
        await sink.write(TILES[0], 1, records(1))
        await redis.script_flush()
        assert await sink.write(TILES[0], 1, records(2)) == SinkReceipt(1, 0, 0, 2)


@settings(deadline=None, max_examples=40)
@given(calls=st.lists(st.lists(WRITES, max_size=4), max_size=8))
def test_the_audit_agrees_with_what_the_sink_says(
    valkey_url: str, calls: list[list[tuple[str, int, list[int]]]]
) -> None:
    async def play() -> None:
        async with connect(valkey_url) as redis:
            name = f"sink-{uuid4()}"
            sink, audit = RedisSink(redis, name, "writer"), SinkAudit(redis, name)
            for call in calls:
                await sink.write_many([SinkWrite(tile, epoch, records(*sequences)) for tile, epoch, sequences in call])
            while await audit.follow(entries_max=3):
                pass
            taken = [number for tile in TILES for first, last in audit.accepted_spans(tile) for number in (first, last)]
            gaps = sum(
                spans[-1][1] - spans[0][0] + 1 - sum(last - first + 1 for first, last in spans)
                for tile in TILES
                if (spans := audit.accepted_spans(tile))
            )
            totals = await sink.totals()
            assert audit.findings == AuditFindings(totals.accepted, 0, 0, gaps, 0)
            assert (await sink.positions(TILES))[0].last_sequence == max(
                (last for _, last in audit.accepted_spans(TILES[0])), default=0
            )
            assert bool(taken) == bool(totals.accepted)

    asyncio.run(play())
