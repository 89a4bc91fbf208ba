"""Owns segmented sums and ranks: vectorised over runs of equal keys."""

import numpy as np
import numpy.typing as npt

from subgraph.domain.planning.columns import Loads, Positions

Keys = npt.NDArray[np.integer]


def starts_of(keys: Keys) -> Positions:
    """Return where each run of equal keys begins."""
    changes = np.ones(keys.size, np.bool_)
    np.not_equal(keys[1:], keys[:-1], out=changes[1:])
    return np.flatnonzero(changes)


def turns(keys: Keys) -> Positions:
    """Return, for each entry, how many before it are of the same run of equal keys."""
    starts = starts_of(keys)
    return np.arange(keys.size) - np.repeat(starts, np.diff(starts, append=keys.size))


def running_sums(values: Loads, keys: Keys) -> Loads:
    """Return, for each entry, the sum of its run of equal keys up to and with it."""
    starts, sums = starts_of(keys), np.cumsum(values)
    before = np.concatenate(([0.0], sums))[starts]
    running: Loads = sums - np.repeat(before, np.diff(starts, append=keys.size))
    return running
