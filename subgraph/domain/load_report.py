"""Owns load reports as they travel and are taken over: packed columns, joined for many pods at once.

A report is a few byte strings, one a column, of numbers of 8 bytes with the lowest byte first. Tiles are told by their
H3 cell; those of one session follow each other. Nothing here looks at single entries in Python.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from subgraph.domain.ids import PodId, SessionId
from subgraph.domain.loads import COUNT_MAX, LOADS_PER_REPORT_MAX, RATE_MAX

ENTRY_BYTES = 8
INTEGER, FLOAT = np.dtype("<i8"), np.dtype("<f8")

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class LoadReport(msgspec.Struct, frozen=True):
    """What one pod measured: the load of each of its tiles, at the epoch at which it owns it.

    `sessions`: each session id with how many of the next entries are its tiles. Rates are per second (FLOAT), all else
    is INTEGER. A column may be empty but for `cells`, `epochs` and `records_per_second`: then it is 0 everywhere.
    """

    pod_id: PodId
    sessions: tuple[tuple[SessionId, int], ...]
    cells: bytes
    epochs: bytes
    records_per_second: bytes
    bytes_per_second: bytes = b""
    volume_bytes: bytes = b""
    backlog: bytes = b""

    @property
    def entries(self) -> int:
        """How many tiles it tells of."""
        return len(self.cells) // ENTRY_BYTES


@dataclass(frozen=True, slots=True)
class MalformedReport:
    """A report that is none: its place among those that were to be joined, and what is wrong with it."""

    index: int
    why: str


@dataclass(frozen=True, slots=True, eq=False)
class LoadColumns:
    """Many reports as columns: `pod_ids` and `at_ms` have an entry for each report, the others one for each tile."""

    pod_ids: Sequence[PodId]
    at_ms: Integers
    session_ids: Sequence[SessionId]
    report: npt.NDArray[np.int32]
    """Which report an entry is of."""
    session: npt.NDArray[np.int32]
    """Which of `session_ids` its tile belongs to."""
    cells: Integers
    epochs: Integers
    records_per_second: Floats
    bytes_per_second: Floats
    volume_bytes: Integers
    backlog: Integers


def pack_report(
    pod_id: PodId,
    session_ids: Sequence[SessionId],
    cells: Sequence[int],
    epochs: Sequence[int],
    records_per_second: Sequence[float],
    bytes_per_second: Sequence[float],
    volume_bytes: Sequence[int],
    backlog: Sequence[int],
) -> LoadReport:
    """A report of tiles in any order, each told by its session and its cell."""
    codes: dict[SessionId, int] = {}
    sessions = np.array([codes.setdefault(session_id, len(codes)) for session_id in session_ids], np.int64)
    order = np.argsort(sessions, kind="stable")
    counts = np.bincount(sessions, minlength=len(codes)).tolist()
    return LoadReport(
        pod_id,
        tuple(zip(codes, counts, strict=True)),
        np.asarray(cells, INTEGER)[order].tobytes(),
        np.asarray(epochs, INTEGER)[order].tobytes(),
        np.asarray(records_per_second, FLOAT)[order].tobytes(),
        np.asarray(bytes_per_second, FLOAT)[order].tobytes(),
        np.asarray(volume_bytes, INTEGER)[order].tobytes(),
        np.asarray(backlog, INTEGER)[order].tobytes(),
    )


def join_reports(reports: Sequence[tuple[int, LoadReport]]) -> tuple[LoadColumns, list[MalformedReport]]:
    """Many reports, each with its time in milliseconds, as columns; malformed ones are left out whole, and told."""
    malformed = [
        MalformedReport(index, why) for index, (_, report) in enumerate(reports) if (why := _misshapen(report))
    ]
    left_out = {one.index for one in malformed}
    kept = [index for index in range(len(reports)) if index not in left_out]
    columns = _join([reports[index] for index in kept])
    wrong = _wrong_values(columns)
    if wrong:
        malformed += [MalformedReport(kept[index], why) for index, why in wrong.items()]
        columns = _join([reports[index] for place, index in enumerate(kept) if place not in wrong])
    return columns, malformed


def _misshapen(report: LoadReport) -> str | None:
    size = len(report.cells)
    if size % ENTRY_BYTES or size > ENTRY_BYTES * LOADS_PER_REPORT_MAX:
        return f"cells must have {ENTRY_BYTES} bytes a tile, for at most {LOADS_PER_REPORT_MAX:,} tiles"
    for name in ("epochs", "records_per_second"):
        if len(getattr(report, name)) != size:
            return f"{name} must have as many entries as cells"
    for name in ("bytes_per_second", "volume_bytes", "backlog"):
        if len(getattr(report, name)) not in (0, size):
            return f"{name} must be empty, or have as many entries as cells"
    counts = [count for _, count in report.sessions]
    if sum(counts) * ENTRY_BYTES != size or min(counts, default=1) < 1:
        return "sessions must count every tile once"
    return None


def _join(reports: Sequence[tuple[int, LoadReport]]) -> LoadColumns:
    codes: dict[SessionId, int] = {}
    spans = [(codes.setdefault(session, len(codes)), count) for _, one in reports for session, count in one.sessions]
    session_codes = np.array([code for code, _ in spans], np.int32)
    sizes = [one.entries for _, one in reports]
    return LoadColumns(
        [one.pod_id for _, one in reports],
        np.array([at_ms for at_ms, _ in reports], np.int64),
        list(codes),
        np.repeat(np.arange(len(reports), dtype=np.int32), sizes),
        np.repeat(session_codes, [count for _, count in spans]) if spans else session_codes,
        _joined([one.cells for _, one in reports], sizes).view(np.int64),
        _joined([one.epochs for _, one in reports], sizes).view(np.int64),
        _joined([one.records_per_second for _, one in reports], sizes).view(np.float64),
        _joined([one.bytes_per_second for _, one in reports], sizes).view(np.float64),
        _joined([one.volume_bytes for _, one in reports], sizes).view(np.int64),
        _joined([one.backlog for _, one in reports], sizes).view(np.int64),
    )


def _joined(parts: Sequence[bytes], sizes: Sequence[int]) -> npt.NDArray[np.uint64]:
    whole = b"".join(part or bytes(ENTRY_BYTES * size) for part, size in zip(parts, sizes, strict=True))
    return np.frombuffer(whole, "<u8").astype(np.uint64, copy=False)


def _wrong_values(columns: LoadColumns) -> dict[int, str]:
    """Which of the joined reports hold a value that is no load, and why."""
    wrong: dict[int, str] = {}
    for name, most in (
        ("records_per_second", RATE_MAX),
        ("bytes_per_second", RATE_MAX),
        ("volume_bytes", COUNT_MAX),
        ("backlog", COUNT_MAX),
    ):
        column = getattr(columns, name)
        # NaN is neither at least 0 nor at most anything.
        if column.size and not (column.min() >= 0 and column.max() <= most):
            where = columns.report[~((column >= 0) & (column <= most))]
            for index in np.unique(where).tolist():
                wrong.setdefault(index, f"{name} must lie between 0 and {most:g}")
    return wrong
