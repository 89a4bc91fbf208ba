"""The promises of every sink, kept by each on its real store: who may write, what counts once, what the totals say."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from subgraph.client import sink as sink_module
from subgraph.client.manager import Takeover
from subgraph.client.sink import (
    EpochRefused,
    SinkPosition,
    SinkReceipt,
    SinkRecord,
    SinkTotals,
    SinkWrite,
    WriteTooLarge,
)
from tests.client.conftest import OpensStore
from tests.support.sinks import OpensSink

pytestmark = pytest.mark.anyio

TILE = "session:85283473fffffff"
OTHER_TILE = "session:8528347bfffffff"


@pytest.fixture
async def open_sink(store: OpensStore) -> AsyncIterator[OpensSink]:
    async with store() as opens:
        yield opens


@pytest.fixture
def name() -> str:
    return f"sink-{uuid4()}"


def records(*sequences: int) -> list[SinkRecord]:
    return [SinkRecord(sequence, b"payload %d" % sequence) for sequence in sequences]


async def test_a_lower_epoch_than_seen_is_refused_and_changes_nothing(open_sink: OpensSink, name: str) -> None:
    old, new = open_sink(name, "old"), open_sink(name, "new")
    await old.write(TILE, 7, records(1, 2))
    await new.write(TILE, 8, records(3))
    with pytest.raises(EpochRefused) as refusal:
        await old.write(TILE, 7, records(4, 5, 6))
    assert (refusal.value.tile_id, refusal.value.highest_epoch) == (TILE, 8)
    assert await new.raise_epoch(TILE, 8) == SinkPosition(8, 3)
    assert await new.newest_payload(TILE) == b"payload 3"
    assert await new.totals() == SinkTotals(accepted=3, duplicates=0, refused=3, missed=0)


async def test_a_paused_owner_is_shut_out_by_the_raise_alone(open_sink: OpensSink, name: str) -> None:
    old, new = open_sink(name, "old"), open_sink(name, "new")
    await old.write(TILE, 7, records(1, 2))
    assert await new.raise_epoch(TILE, 8) == SinkPosition(8, 2)
    with pytest.raises(EpochRefused):
        await old.write(TILE, 7, records(3))
    with pytest.raises(EpochRefused):
        await old.raise_epoch(TILE, 7)
    assert await new.raise_epoch(TILE, 8) == SinkPosition(8, 2)


async def test_an_equal_and_a_higher_epoch_are_accepted(open_sink: OpensSink, name: str) -> None:
    sink = open_sink(name, "writer")
    assert await sink.raise_epoch(TILE, 7) == SinkPosition(7, 0)
    assert await sink.write(TILE, 7, records(1)) == SinkReceipt(1, 0, 0, 1)
    assert await sink.write(TILE, 9, records(2)) == SinkReceipt(1, 0, 0, 2)
    with pytest.raises(EpochRefused):
        await sink.write(TILE, 8, records(3))


async def test_tiles_and_sinks_have_fences_of_their_own(open_sink: OpensSink, name: str) -> None:
    sink = open_sink(name, "writer")
    await sink.raise_epoch(TILE, 9)
    assert await sink.write(OTHER_TILE, 1, records(1)) == SinkReceipt(1, 0, 0, 1)
    assert await open_sink(name + "-other", "writer").raise_epoch(TILE, 1) == SinkPosition(1, 0)


async def test_a_record_is_taken_once_however_often_it_is_written(open_sink: OpensSink, name: str) -> None:
    sink = open_sink(name, "writer")
    await sink.write(TILE, 1, records(1, 2, 3))
    assert await sink.write(TILE, 1, records(1, 2, 3)) == SinkReceipt(0, 3, 0, 3)
    assert await sink.write(TILE, 2, records(2, 3, 4, 4, 5)) == SinkReceipt(2, 3, 0, 5)
    assert await sink.totals() == SinkTotals(accepted=5, duplicates=6, refused=0, missed=0)


async def test_sequences_jumped_over_are_missed_and_come_too_late(open_sink: OpensSink, name: str) -> None:
    sink = open_sink(name, "writer")
    assert await sink.write(TILE, 1, records(3, 4, 7)) == SinkReceipt(3, 0, 4, 7)
    assert await sink.write(TILE, 1, records(5, 6, 10)) == SinkReceipt(1, 2, 2, 10)
    assert await sink.totals() == SinkTotals(accepted=4, duplicates=2, refused=0, missed=6)


async def test_only_an_accepted_payload_replaces_the_newest(open_sink: OpensSink, name: str) -> None:
    sink = open_sink(name, "writer")
    assert await sink.newest_payload(TILE) is None
    await sink.write(TILE, 1, [SinkRecord(1, b"a"), SinkRecord(2, b"\x00\xff")])
    await sink.write(TILE, 1, [SinkRecord(1, b"late"), SinkRecord(2, b"again")])
    assert await sink.newest_payload(TILE) == b"\x00\xff"


async def test_many_writes_are_answered_in_place_and_refusals_hinder_no_other(open_sink: OpensSink, name: str) -> None:
    sink = open_sink(name, "writer")
    await sink.raise_epoch(TILE, 5)
    first, refused, again = await sink.write_many(
        [
            SinkWrite(OTHER_TILE, 1, records(1, 2)),
            SinkWrite(TILE, 4, records(1)),
            SinkWrite(OTHER_TILE, 2, records(2, 4)),
        ]
    )
    assert first == SinkReceipt(2, 0, 0, 2)
    assert isinstance(refused, EpochRefused)
    assert (refused.tile_id, refused.highest_epoch) == (TILE, 5)
    assert again == SinkReceipt(1, 1, 1, 4)
    assert await sink.write_many([]) == []


async def test_epochs_and_sequences_are_exact_up_to_the_bound(open_sink: OpensSink, name: str) -> None:
    sink = open_sink(name, "writer")
    highest = 2**53 - 1
    assert await sink.raise_epoch(TILE, highest) == SinkPosition(highest, 0)
    with pytest.raises(EpochRefused) as refusal:
        await sink.raise_epoch(TILE, highest - 1)
    assert refusal.value.highest_epoch == highest
    assert await sink.write(TILE, highest, records(highest - 1)) == SinkReceipt(1, 0, highest - 2, highest - 1)
    assert await sink.write(TILE, highest, records(highest)) == SinkReceipt(1, 0, 0, highest)
    assert (await sink.totals()).missed == highest - 2


async def test_what_is_beyond_a_bound_is_refused_unsent(
    open_sink: OpensSink, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = open_sink(name, "writer")
    with pytest.raises(WriteTooLarge, match="at most 1,000 records a write, not 1,001"):
        await sink.write(TILE, 1, records(*range(1, 1_002)))
    with pytest.raises(WriteTooLarge, match="at most 1,000 writes a call, not 1,001"):
        await sink.write_many([SinkWrite(TILE, 1, records(1))] * 1_001)
    with pytest.raises(WriteTooLarge, match="at most 10,000 records a call, not 11,000"):
        await sink.write_many([SinkWrite(TILE, 1, records(*range(1, 1_001)))] * 11)
    monkeypatch.setattr(sink_module, "PAYLOAD_BYTES_MAX", 3)
    with pytest.raises(WriteTooLarge, match="at most 3 bytes, not 4"):
        await sink.write_many([SinkWrite(TILE, 1, ()), SinkWrite(TILE, 1, [SinkRecord(1, b"four")])])
    assert await sink.totals() == SinkTotals(0, 0, 0, 0)
    assert await sink.positions([TILE]) == [SinkPosition(0, 0)]


async def test_a_write_of_the_largest_size_is_taken_even_if_every_sequence_stands_alone(
    open_sink: OpensSink, name: str
) -> None:
    sink = open_sink(name, "writer")
    assert await sink.write(TILE, 1, records(*range(1, 2_001, 2))) == SinkReceipt(1_000, 0, 999, 1_999)


@pytest.mark.parametrize(
    ("tile_id", "epoch", "sequence"),
    [("", 1, 1), ("t" * 257, 1, 1), (TILE, 0, 1), (TILE, 2**53, 1), (TILE, 1, 0), (TILE, 1, 2**53)],
)
async def test_malformed_writes_are_refused_unsent(
    open_sink: OpensSink, name: str, tile_id: str, epoch: int, sequence: int
) -> None:
    sink = open_sink(name, "writer")
    with pytest.raises(ValueError, match="tile"):
        await sink.write(tile_id, epoch, records(sequence))
    assert await sink.positions([TILE]) == [SinkPosition(0, 0)]


@pytest.mark.parametrize(("sink_name", "writer"), [("", "w"), ("s" * 257, "w"), ("a", "w" * 257)])
async def test_a_malformed_sink_is_refused(open_sink: OpensSink, sink_name: str, writer: str) -> None:
    with pytest.raises(ValueError, match=r"name|label"):
        open_sink(sink_name, writer)


async def test_owners_racing_for_a_tile_never_get_a_record_in_twice(open_sink: OpensSink, name: str) -> None:
    async def own(epoch: int) -> None:
        sink = open_sink(name, f"owner-{epoch}")
        try:
            position = await sink.raise_epoch(TILE, epoch)
            for sequence in range(position.last_sequence + 1, position.last_sequence + 21):
                await sink.write(TILE, epoch, records(sequence))
        except EpochRefused:
            pass

    await asyncio.gather(*(own(epoch) for epoch in (3, 1, 4, 2, 5)))
    reader = open_sink(name, "reader")
    totals, (position,) = await reader.totals(), await reader.positions([TILE])
    assert (position.epoch, position.last_sequence) == (5, totals.accepted)
    assert totals.accepted >= 20
    assert (totals.duplicates, totals.missed) == (0, 0)


async def test_writers_to_the_same_tiles_in_any_order_do_not_wait_for_each_other_for_ever(
    open_sink: OpensSink, name: str
) -> None:
    tiles = [f"session:{n}" for n in range(20)]

    async def write(order: list[str], writer: str) -> None:
        sink = open_sink(name, writer)
        for sequence in range(1, 6):
            await sink.write_many([SinkWrite(tile, 1, records(sequence)) for tile in order])

    async with asyncio.timeout(60):
        await asyncio.gather(write(tiles, "up"), write(tiles[::-1], "down"), write(tiles[7:] + tiles[:7], "round"))
    assert await open_sink(name, "reader").totals() == SinkTotals(accepted=100, duplicates=200, refused=0, missed=0)


PARTS = [f"session:part-{n}" for n in range(7)]


async def test_taking_over_a_part_shuts_out_the_owner_of_the_whole(open_sink: OpensSink, name: str) -> None:
    former, new = open_sink(name, "former"), open_sink(name, "new")
    await former.write(TILE, 7, records(1, 2))
    taken = await new.take_over([Takeover(part, epoch, (TILE,)) for epoch, part in enumerate(PARTS, 8)])
    assert taken == [SinkPosition(epoch, 0) for epoch in range(8, 15)]
    with pytest.raises(EpochRefused) as refusal:
        await former.write(TILE, 7, records(3))
    assert refusal.value.highest_epoch == 14
    assert await new.positions([TILE, *PARTS[:2], OTHER_TILE]) == [
        SinkPosition(14, 2),
        SinkPosition(8, 0),
        SinkPosition(9, 0),
        SinkPosition(0, 0),
    ]


async def test_a_part_that_another_has_overtaken_is_taken_over_all_the_same(open_sink: OpensSink, name: str) -> None:
    sink = open_sink(name, "writer")
    await sink.take_over([Takeover(PARTS[1], 9, (TILE,))])
    assert await sink.take_over([Takeover(PARTS[0], 8, (TILE,))]) == [SinkPosition(8, 0)]
    assert await sink.positions([TILE]) == [SinkPosition(9, 0)]


async def test_taking_over_the_whole_shuts_out_the_owners_of_its_parts(open_sink: OpensSink, name: str) -> None:
    former, new = open_sink(name, "former"), open_sink(name, "new")
    await former.write(TILE, 7, records(1, 2))
    await former.take_over([Takeover(part, epoch, (TILE,)) for epoch, part in enumerate(PARTS, 8)])
    assert await new.take_over([Takeover(TILE, 20, tuple(PARTS))]) == [SinkPosition(20, 2)]
    for epoch, part in enumerate(PARTS, 8):
        with pytest.raises(EpochRefused):
            await former.write(part, epoch, records(1))
    # Nor does a late takeover of a part get past the whole that is there again.
    late, next_one = await former.take_over([Takeover(PARTS[0], 8, (TILE,)), Takeover(OTHER_TILE, 1)])
    assert isinstance(late, EpochRefused)
    assert next_one == SinkPosition(1, 0)
    assert await new.positions([TILE]) == [SinkPosition(20, 2)]


async def test_many_takeovers_are_made_in_calls_that_fit(
    open_sink: OpensSink, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink_module, "WRITES_PER_CALL_MAX", 8)
    sink = open_sink(name, "writer")
    takeovers = [Takeover(part, epoch, (TILE, OTHER_TILE)) for epoch, part in enumerate(PARTS, 1)]
    assert await sink.take_over(takeovers) == [SinkPosition(epoch, 0) for epoch in range(1, 8)]
    assert await sink.positions([TILE, OTHER_TILE]) == [SinkPosition(7, 0)] * 2
    assert await sink.take_over([]) == []
    assert await sink.positions([]) == []


class ModelSink:
    """The rule as one sentence of Python per case."""

    def __init__(self) -> None:
        self.positions: dict[str, tuple[int, int]] = {}
        self.accepted = self.duplicates = self.refused = self.missed = 0

    def write(self, tile_id: str, epoch: int, sequences: Iterable[int]) -> SinkReceipt | int:
        highest, last = self.positions.get(tile_id, (0, 0))
        if epoch < highest:
            self.refused += len(list(sequences))
            return highest
        accepted = duplicates = missed = 0
        for sequence in sequences:
            if sequence <= last:
                duplicates += 1
            else:
                missed += sequence - last - 1
                accepted += 1
                last = sequence
        self.positions[tile_id] = (epoch, last)
        self.accepted += accepted
        self.duplicates += duplicates
        self.missed += missed
        return SinkReceipt(accepted, duplicates, missed, last)


WRITES = st.tuples(
    st.sampled_from(["first", "second"]),
    st.sampled_from([TILE, OTHER_TILE]),
    st.integers(1, 4),
    st.lists(st.integers(1, 12), max_size=6),
)


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.lists(st.lists(WRITES, max_size=4), max_size=8))
def test_random_histories_of_two_writers_agree_with_the_model(
    store: OpensStore, calls: list[list[tuple[str, str, int, list[int]]]]
) -> None:
    async def play() -> None:
        model = ModelSink()
        async with store() as open_sink:
            name = f"sink-{uuid4()}"
            sinks = {writer: open_sink(name, writer) for writer in ("first", "second")}
            for call in calls:
                for writer in sinks:
                    own = [(tile, epoch, sequences) for who, tile, epoch, sequences in call if who == writer]
                    expected = [model.write(*write) for write in own]
                    answers = await sinks[writer].write_many(
                        [SinkWrite(tile, epoch, records(*sequences)) for tile, epoch, sequences in own]
                    )
                    assert [a.highest_epoch if isinstance(a, EpochRefused) else a for a in answers] == expected
            totals = await sinks["first"].totals()
            assert totals == SinkTotals(model.accepted, model.duplicates, model.refused, model.missed)
            for tile, (epoch, last) in model.positions.items():
                assert await sinks["first"].raise_epoch(tile, epoch) == SinkPosition(epoch, last)
                newest = b"payload %d" % last if last else None
                assert await sinks["first"].newest_payload(tile) == newest

    asyncio.run(play())
