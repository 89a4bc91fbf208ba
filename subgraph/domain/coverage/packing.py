"""Owns how cells are kept as bytes: sorted, as differences, compressed. A million neighbours take some 20 kB."""

import zlib

import numpy as np

from subgraph.domain.coverage.cells import CellArray, distinct

_FORMAT = b"\x01"
_BYTES_PER_CELL = 8


def pack_cells(cells: CellArray) -> bytes:
    """Cells as bytes; their order and repetitions are not kept."""
    differences = np.diff(distinct(cells), prepend=np.int64(0)).astype("<u8")
    # Most differences have the same high bytes: side by side, those compress to almost nothing.
    planes = differences.view(np.uint8).reshape(-1, _BYTES_PER_CELL).T
    return _FORMAT + zlib.compress(planes.tobytes())


def unpack_cells(packed: bytes) -> CellArray:
    """The cells of `pack_cells`, each once, in ascending order.

    Raises:
        ValueError: the bytes are not of this format.
    """
    if not packed.startswith(_FORMAT):
        raise ValueError(f"cells are packed in format {packed[:1].hex()}, which this version does not know")
    planes = np.frombuffer(zlib.decompress(packed[1:]), np.uint8).reshape(_BYTES_PER_CELL, -1)
    return np.cumsum(planes.T.copy().view("<u8").ravel().astype(np.int64), dtype=np.int64)
