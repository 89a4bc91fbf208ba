"""Owns what is measured as load, and what makes a report acceptable that names tiles one by one."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import StrEnum

from subgraph.domain.errors import InvalidInput
from subgraph.domain.ids import PodId
from subgraph.domain.limits import check_number

LOADS_PER_REPORT_MAX = 10_000
RATE_MAX = 1e15
COUNT_MAX = 2**53 - 1


class LoadMetric(StrEnum):
    """What is balanced: the tile's own work, never the CPU of the pod it happens to be on."""

    RECORDS = "records"
    BYTES = "bytes"
    BACKLOG = "backlog"


@dataclass(frozen=True, slots=True)
class LoadBatch:
    """One pod's report as its caller gives it, in columns of equal length, one entry a tile.

    Rates are per second; `volume_bytes` and `backlog` are totals.
    """

    pod_id: PodId
    tile_ids: Sequence[str]
    epochs: Sequence[int]
    records_per_second: Sequence[float]
    bytes_per_second: Sequence[float]
    volume_bytes: Sequence[int]
    backlog: Sequence[int]


def check_batch(batch: LoadBatch) -> None:
    """Refuse a report with a value that is no load.

    Raises:
        InvalidInput: naming the entry, the field and the limit.
    """
    if len(batch.tile_ids) > LOADS_PER_REPORT_MAX:
        raise InvalidInput(
            f"at most {LOADS_PER_REPORT_MAX:,} loads a report, not {len(batch.tile_ids):,}",
            ("loads",),
            f"{LOADS_PER_REPORT_MAX} loads",
        )
    for column in fields(batch)[2:]:
        if len(getattr(batch, column.name)) != len(batch.tile_ids):
            raise InvalidInput(f"{column.name} must have one entry a tile", ("loads",))
    for name, rates in (("recordsPerSecond", batch.records_per_second), ("bytesPerSecond", batch.bytes_per_second)):
        for index, rate in enumerate(rates):
            if not 0 <= rate <= RATE_MAX:
                check_number(name, rate, 0, RATE_MAX, ("loads", str(index), name))
    for name, counts in (("volumeBytes", batch.volume_bytes), ("backlog", batch.backlog)):
        for index, count in enumerate(counts):
            if not 0 <= count <= COUNT_MAX:
                check_number(name, count, 0, COUNT_MAX, ("loads", str(index), name))
