"""Owns the columns that hold what is known of each tile: a number a row, in arrays that grow with the fleet."""

import math

import numpy as np
import numpy.typing as npt

from subgraph.domain.fleet import mapped
from subgraph.domain.fleet.cell_index import NO_ROW

_ROWS_FIRST = 1024
GROWTH_SHARE = 1 / 8
"""By which full columns grow: copying them is cheap beside what fills them, and rows in reserve cost memory."""
NOBODY = -1
"""In `owner`: no pod owns the tile."""
AS_REGISTERED = -1
"""In `registered_resolution`: the tile itself was registered; it is no part of another one."""

_COLUMNS: dict[str, tuple[type[np.generic], float]] = {
    "cell": (np.int64, 0),
    "session": (np.int32, NO_ROW),
    "exists": (np.bool_, False),
    "capacity": (np.float64, math.nan),
    "changed_at": (np.int64, 0),
    "owner": (np.int32, NOBODY),
    "owner_epoch": (np.int64, 0),
    "owner_reason": (np.int8, 0),
    "owner_since_ms": (np.int64, 0),
    "owner_acknowledged_ms": (np.int64, 0),
    "owner_load": (np.float64, 0),
    "last_epoch": (np.int64, 0),
    "registered_resolution": (np.int8, AS_REGISTERED),
    "smoothed": (np.float64, math.nan),
    "records_per_second": (np.float64, 0),
    "bytes_per_second": (np.float64, 0),
    "volume_bytes": (np.int64, 0),
    "backlog": (np.int64, 0),
    "reported_at_ms": (np.int64, 0),
}


class TileColumns:
    """The columns, all of the same length. What a row stands for is its table's to say."""

    cell: npt.NDArray[np.int64]
    session: npt.NDArray[np.int32]
    exists: npt.NDArray[np.bool_]
    capacity: npt.NDArray[np.float64]
    changed_at: npt.NDArray[np.int64]
    owner: npt.NDArray[np.int32]
    owner_epoch: npt.NDArray[np.int64]
    owner_reason: npt.NDArray[np.int8]
    owner_since_ms: npt.NDArray[np.int64]
    owner_acknowledged_ms: npt.NDArray[np.int64]
    owner_load: npt.NDArray[np.float64]
    last_epoch: npt.NDArray[np.int64]
    registered_resolution: npt.NDArray[np.int8]
    smoothed: npt.NDArray[np.float64]
    records_per_second: npt.NDArray[np.float64]
    bytes_per_second: npt.NDArray[np.float64]
    volume_bytes: npt.NDArray[np.int64]
    backlog: npt.NDArray[np.int64]
    reported_at_ms: npt.NDArray[np.int64]

    def __init__(self) -> None:
        for name, (dtype, empty) in _COLUMNS.items():
            setattr(self, name, mapped.filled(_ROWS_FIRST, empty, dtype))

    def clear(self, row: int) -> None:
        """Empty a row in all columns."""
        for name, (_, empty) in _COLUMNS.items():
            getattr(self, name)[row] = empty

    def grow(self) -> None:
        """Make room for more rows."""
        more = max(_ROWS_FIRST, round(GROWTH_SHARE * len(self.cell)))
        for name, (_, empty) in _COLUMNS.items():
            setattr(self, name, mapped.grown(getattr(self, name), more, empty))
