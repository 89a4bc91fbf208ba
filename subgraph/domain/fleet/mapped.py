"""Owns the memory of columns that last: large ones have a mapping of their own, which is given back as a whole.

From the heap, columns that grow one after the other, between arrays that a plan needs for a moment, would leave holes
in which hardly anything fits: as much memory again as the columns themselves have.
"""

import mmap
from typing import TypeVar

import numpy as np
import numpy.typing as npt

N = TypeVar("N", bound=np.generic)

MAPPED_BYTES_MIN = 1 << 20
"""Smaller arrays leave small holes, and a process may have only so many mappings."""


def room(shape: int | tuple[int, ...], dtype: type[N] | np.dtype[N]) -> npt.NDArray[N]:
    """Room for a column that is about to be filled; what never is costs no memory."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if size < MAPPED_BYTES_MIN:
        return np.empty(shape, dtype)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return np.frombuffer(memory, dtype).reshape(shape)


def filled(shape: int | tuple[int, ...], value: float, dtype: type[N]) -> npt.NDArray[N]:
    """A new column with this value everywhere."""
    column = room(shape, dtype)
    column.fill(value)
    return column


def grown(column: npt.NDArray[N], more: int, value: float) -> npt.NDArray[N]:
    """The column with so many entries more, of this value."""
    size = len(column)
    longer = room((size + more, *column.shape[1:]), column.dtype)
    longer[:size], longer[size:] = column, value
    return longer


def kept(array: npt.NDArray[N]) -> npt.NDArray[N]:
    """The same numbers, as a column that lasts."""
    column = room(array.shape, array.dtype)
    column[...] = array
    return column
