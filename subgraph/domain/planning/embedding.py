"""Owns coordinates for tiles from their graph of neighbours alone, by landmark multidimensional scaling."""

import numpy as np
import numpy.typing as npt

from subgraph.domain.planning.columns import Positions, Rows
from subgraph.domain.planning.distances import steps_from
from subgraph.domain.planning.neighbors import Neighbors
from subgraph.domain.planning.segments import Keys, starts_of

Columns = npt.NDArray[np.float32]  # one row a coordinate, one column a tile

LANDMARKS = 6
DIMENSIONS = 3


def embed(graph: Neighbors, component: Rows) -> Columns:
    """Return three coordinates for each tile, within its own component.

    They are the principal components of the distances to a few landmarks, each as far as can be from those before.
    Source: de Silva, Tenenbaum: Sparse Multidimensional Scaling Using Landmark Points (2004), without the squares.
    """
    order = np.argsort(component, kind="stable").astype(np.int32)
    starts = starts_of(component[order])
    nearest = steps_from(order[starts], graph)
    distances = np.empty((LANDMARKS, component.size), np.float32)
    for row in range(LANDMARKS):
        steps = steps_from(_farthest(nearest, order, starts), graph)
        nearest = np.minimum(nearest, steps) if row else steps
        distances[row] = steps
    return principal(distances, component, DIMENSIONS)


def principal(columns: Columns, group: Keys, dimensions: int) -> Columns:
    """Return the first principal components of the columns, for each group (numbered from 0 on) by itself."""
    groups, count = int(group.max(initial=-1)) + 1, len(columns)
    sizes = np.maximum(np.bincount(group, minlength=groups), 1)
    means = np.stack([np.bincount(group, weights=column, minlength=groups) / sizes for column in columns], axis=1)
    centred = np.empty_like(columns)
    for row, column in enumerate(columns):
        np.subtract(column, means[group, row], out=centred[row], casting="same_kind")
    spread = np.empty((groups, count, count))
    for one in range(count):
        for other in range(one, count):
            product = centred[one] * centred[other]
            spread[:, one, other] = spread[:, other, one] = np.bincount(group, weights=product, minlength=groups)
    axes = np.linalg.eigh(spread)[1][:, :, ::-1][:, :, :dimensions]
    # An axis may as well point the other way: its longest entry decides, so that equal input gives equal output.
    longest = np.take_along_axis(axes, np.argmax(np.abs(axes), axis=1)[:, None, :], axis=1)
    axes = np.where(longest < 0, -axes, axes).astype(np.float32)
    found = np.zeros((dimensions, group.size), np.float32)
    for dimension in range(dimensions):
        for row in range(count):
            found[dimension] += axes[group, row, dimension] * centred[row]
    return found


def _farthest(steps: Rows, order: Rows, starts: Positions) -> Rows:
    """Return, for each component, the first of its tiles with most steps; the order lists them one after the other."""
    ordered = steps[order]
    most = np.repeat(np.maximum.reduceat(ordered, starts), np.diff(starts, append=order.size))
    places = np.flatnonzero(ordered == most)
    component = np.searchsorted(starts, places, side="right")
    return order[places[starts_of(component)]]
