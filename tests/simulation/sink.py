"""Owns the model of a sink: what `client/scripts/write.lua` does, and a witness who is told of all that is accepted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from subgraph.client.sink import EpochRefused, SinkReceipt


@dataclass(frozen=True, slots=True)
class Accepted:
    """What a sink took in one step: `count` records of a tile from `first` on; none for an epoch that was raised."""

    tile_id: str
    epoch: int
    first: int
    count: int
    writer: str


@dataclass(frozen=True, slots=True)
class RunsWrite:
    """A write of one tile as it travels: runs of consecutive sequences, each from its first for so many."""

    tile_id: str
    epoch: int
    runs: Sequence[tuple[int, int]]


class SinkTwin:
    """A sink: it takes a record whose epoch is at least the highest seen for its tile, and takes each once."""

    def __init__(self, witness: Callable[[Accepted], None]) -> None:
        self._witness = witness
        self.positions: dict[str, tuple[int, int]] = {}
        """Highest epoch seen and last sequence accepted of each tile."""

    def write(self, writer: str, writes: Sequence[RunsWrite]) -> list[SinkReceipt | EpochRefused]:
        """Write many, each for itself, as one step."""
        return [self._write(writer, write) for write in writes]

    def is_open(self, epoch: int, highest: int) -> bool:
        """The fence."""
        return epoch >= highest

    def _write(self, writer: str, write: RunsWrite) -> SinkReceipt | EpochRefused:
        tile_id, epoch = write.tile_id, write.epoch
        highest, last = self.positions.get(tile_id, (0, 0))
        if not self.is_open(epoch, highest):
            return EpochRefused(tile_id, highest)
        before, accepted, duplicates, missed = last, 0, 0, 0
        for first, count in write.runs:
            seen = max(0, min(count, last - first + 1))
            duplicates += seen
            if seen < count:
                fresh = first + seen
                missed += fresh - last - 1
                accepted += count - seen
                last = first + count - 1
                self._witness(Accepted(tile_id, epoch, fresh, count - seen, writer))
        if epoch > highest and last == before:
            self._witness(Accepted(tile_id, epoch, last + 1, 0, writer))
        self.positions[tile_id] = (max(epoch, highest), last)
        return SinkReceipt(accepted, duplicates, missed, last)
