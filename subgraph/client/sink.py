"""Owns the fence where a tile's records arrive: whatever a paused former owner still believes, it can write nothing.

A sink takes a record if and only if its epoch is at least the highest the sink has seen for the tile, and takes each
record once. The records of a tile carry a sequence that counts up from 1 and comes in order: one at or below the last
accepted is a duplicate, and one that jumps ahead gives up those in between as missed. A new owner raises the epoch
before it works, and so learns where to go on.

After a split or merge of tiles, the owner of a successor raises its epoch for each tile that this one replaces as well:
former owners of those may be paused, and would write on where nobody else does any more. An owner's epoch is above all
epochs that its predecessors ever had. It does so before it works and before it acknowledges ACTIVE; from then on nobody
else has to. This holds for every sink that a service writes to, one of these or another.

`RedisSink` and `SqlSink` keep the same promises; a service with a store of its own keeps epoch and sequence in that
store, in the transaction that writes its records, as `SqlFence` does (docs/clients.md).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from subgraph.client.manager import Takeover

RECORDS_PER_WRITE_MAX = 1_000
"""Most records of one tile in one write; a larger batch is refused unsent."""

WRITES_PER_CALL_MAX = 1_000
RECORDS_PER_CALL_MAX = 10_000
"""With `WRITES_PER_CALL_MAX`, bounds how long one call can keep the store from others."""

PAYLOAD_BYTES_MAX = 1_048_576
TEXT_LENGTH_MAX = 256
NUMBER_BELOW = 1 << 53
"""Epochs and sequences stay below: some stores' numbers are doubles."""


class SinkRecord(NamedTuple):
    """One record of a tile."""

    sequence: int
    payload: bytes


class SinkWrite(NamedTuple):
    """Records of one tile, in order, by the owner of an epoch."""

    tile_id: str
    epoch: int
    records: Sequence[SinkRecord]


@dataclass(frozen=True, slots=True)
class SinkReceipt:
    """What became of a write: `missed` sequences were jumped over, and can no longer be accepted."""

    accepted: int
    duplicates: int
    missed: int
    last_sequence: int


@dataclass(frozen=True, slots=True)
class SinkPosition:
    """Where a tile stands in the sink: the highest epoch seen, and the last sequence accepted (0: none yet)."""

    epoch: int
    last_sequence: int


@dataclass(frozen=True, slots=True)
class SinkTotals:
    """Records since ever; `refused` are those of writes that the fence turned away."""

    accepted: int
    duplicates: int
    refused: int
    missed: int


class EpochRefused(Exception):
    """The sink has seen a higher epoch for the tile: somebody else owns it, and the caller must stop working on it."""

    def __init__(self, tile_id: str, highest_epoch: int) -> None:
        super().__init__(f"epoch refused: the sink has seen {highest_epoch} for tile {tile_id!r}")
        self.tile_id = tile_id
        self.highest_epoch = highest_epoch


class WriteTooLarge(ValueError):
    """A batch is beyond a bound of the sink; nothing of it was sent."""


class TileSink(ABC):
    """One sink, as seen by one writer."""

    async def raise_epoch(self, tile_id: str, epoch: int) -> SinkPosition:
        """Shut out every lower epoch. A new owner calls this before it works and goes on after `last_sequence`.

        Raises:
            EpochRefused: a higher epoch has been seen; the caller's term is over.
        """
        receipt = await self.write(tile_id, epoch, ())
        return SinkPosition(epoch, receipt.last_sequence)

    async def take_over(self, takeovers: Sequence[Takeover]) -> list[SinkPosition | EpochRefused]:
        """Raise the epochs of tiles, and of the tiles they replace, each tile with its own as one step.

        Returns:
            Where each tile stands; or, where its own epoch was refused, that. A tile that is replaced may have a higher
            epoch already, from another successor or because it is there again: both shut its former owner out.
        """
        answers: list[SinkPosition | EpochRefused] = []
        for calls in _in_calls(takeovers):
            raised = await self.write_many(
                [SinkWrite(tile_id, one.epoch, ()) for one in calls for tile_id in (*one.replaces, one.tile_id)]
            )
            own = accumulate(len(one.replaces) + 1 for one in calls)
            for one, after in zip(calls, own, strict=True):
                answer = raised[after - 1]
                if isinstance(answer, SinkReceipt):
                    answers.append(SinkPosition(one.epoch, answer.last_sequence))
                else:
                    answers.append(answer)
        return answers

    async def write(self, tile_id: str, epoch: int, records: Sequence[SinkRecord]) -> SinkReceipt:
        """Write records of a tile, all or none of them past the fence; writing them again is safe.

        Raises:
            EpochRefused: a higher epoch has been seen; no record was taken.
            WriteTooLarge: more than `RECORDS_PER_WRITE_MAX` records, or a payload beyond `PAYLOAD_BYTES_MAX`.
        """
        [answer] = await self.write_many([SinkWrite(tile_id, epoch, records)])
        if isinstance(answer, EpochRefused):
            raise answer
        return answer

    @abstractmethod
    async def write_many(self, writes: Sequence[SinkWrite]) -> list[SinkReceipt | EpochRefused]:
        """Write to many tiles as one step; a refused write is answered in its place and hinders no other.

        Raises:
            WriteTooLarge: a write is too large, or all together are (`WRITES_PER_CALL_MAX`, `RECORDS_PER_CALL_MAX`).
        """

    @abstractmethod
    async def positions(self, tile_ids: Sequence[str]) -> list[SinkPosition]:
        """Where tiles stand, without raising anything."""

    @abstractmethod
    async def newest_payload(self, tile_id: str) -> bytes | None:
        """The payload of the last record accepted for the tile."""

    @abstractmethod
    async def totals(self) -> SinkTotals:
        """What this sink has taken and turned away since ever, from all writers."""


def check_names(name: str, writer: str) -> None:
    """Refuse a sink's name, or a writer's label, that is none.

    Raises:
        ValueError: it is empty, or too long.
    """
    if not 0 < len(name) <= TEXT_LENGTH_MAX:
        raise ValueError(f"a sink's name has 1 to {TEXT_LENGTH_MAX} characters, unlike {name!r}")
    if len(writer) > TEXT_LENGTH_MAX:
        raise ValueError(f"a writer's label has at most {TEXT_LENGTH_MAX} characters")


def check_writes(writes: Sequence[SinkWrite]) -> None:
    """Refuse what is malformed or beyond a bound, before any of it is sent.

    Raises:
        WriteTooLarge: as for `write_many`.
        ValueError: a tile's id, an epoch or a sequence is none.
    """
    if len(writes) > WRITES_PER_CALL_MAX:
        raise WriteTooLarge(f"at most {WRITES_PER_CALL_MAX:,} writes a call, not {len(writes):,}")
    records_count = sum(len(write.records) for write in writes)
    if records_count > RECORDS_PER_CALL_MAX:
        raise WriteTooLarge(f"at most {RECORDS_PER_CALL_MAX:,} records a call, not {records_count:,}")
    for tile_id, epoch, records in writes:
        if not 0 < len(tile_id) <= TEXT_LENGTH_MAX:
            raise ValueError(f"a tile id has 1 to {TEXT_LENGTH_MAX} characters")
        if not 0 < epoch < NUMBER_BELOW:
            raise ValueError(f"epoch {epoch} of tile {tile_id!r} is not from 1 to below 2**53")
        if len(records) > RECORDS_PER_WRITE_MAX:
            raise WriteTooLarge(
                f"at most {RECORDS_PER_WRITE_MAX:,} records a write, not {len(records):,} of {tile_id!r}"
            )
        for record in records:
            if not 0 < record.sequence < NUMBER_BELOW:
                raise ValueError(f"sequence {record.sequence} of tile {tile_id!r} is not from 1 to below 2**53")
            if len(record.payload) > PAYLOAD_BYTES_MAX:
                raise WriteTooLarge(f"a payload has at most {PAYLOAD_BYTES_MAX:,} bytes, not {len(record.payload):,}")


def _in_calls(takeovers: Sequence[Takeover]) -> Iterator[list[Takeover]]:
    """The takeovers, in lots that one call may have; what one of them raises is never torn apart."""
    lot: list[Takeover] = []
    for one in takeovers:
        if lot and sum(len(other.replaces) + 1 for other in (*lot, one)) > WRITES_PER_CALL_MAX:
            yield lot
            lot = []
        lot.append(one)
    if lot:
        yield lot
