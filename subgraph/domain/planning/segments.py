"""Owns sums and positions within runs of equal keys: what every phase needs that deals with many pods at once."""

import numpy as np
import numpy.typing as npt

from subgraph.domain.planning.columns import Loads, Positions


def turns(keys: npt.NDArray[np.integer]) -> Positions:
    """Return, for each entry, how many before it are of the same run of equal keys."""
    starts, sizes = _runs(keys)
    return np.arange(keys.size) - np.repeat(starts, sizes)


def running_sums(values: Loads, keys: npt.NDArray[np.integer]) -> Loads:
    """Return, for each entry, the sum of its run of equal keys up to and with it."""
    starts, sizes = _runs(keys)
    sums = np.cumsum(values)
    running: Loads = sums - np.repeat(np.concatenate(([0.0], sums))[starts], sizes)
    return running


def _runs(keys: npt.NDArray[np.integer]) -> tuple[Positions, Positions]:
    changes = np.ones(keys.size, np.bool_)
    np.not_equal(keys[1:], keys[:-1], out=changes[1:])
    starts = np.flatnonzero(changes)
    return starts, np.diff(starts, append=keys.size)
