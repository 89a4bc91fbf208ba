"""Owns graph partitioning by recursive bisection: regions of given weights with few edges cut."""

import numpy as np

from subgraph.domain.planning.columns import Flags, Loads, Positions, Rows
from subgraph.domain.planning.distances import components
from subgraph.domain.planning.embedding import Columns, embed, principal
from subgraph.domain.planning.neighbors import Neighbors


def regions(weights: Loads, wants: Loads, graph: Neighbors) -> Rows:
    """Return a region for each tile, so that regions weigh about in proportion to what is wanted (above 0).

    A part is cut across its longest axis, all parts of a level at once; of several connected components at most one is
    cut, the others stay whole. So a region is rarely in pieces, and its shape compact.
    Source: recursive inertial bisection, as in Simon: Partitioning of Unstructured Problems for Parallel Processing
    (1991), on coordinates found from the graph.
    """
    component = components(graph)
    places = embed(graph, component)
    order = np.argsort(component, kind="stable").astype(np.int32)
    upto = np.concatenate(([0.0], np.cumsum(wants)))
    starts, ends = np.array([0]), np.array([weights.size])  # of each part, in the order
    low, high = np.array([0]), np.array([wants.size])  # the regions that each part is for
    while True:
        split = np.flatnonzero(high - low > 1)
        if not split.size:
            break
        # The cut among the regions nearest to the middle of what they want, and the same share of the part's weight.
        middle = np.searchsorted(upto, (upto[low[split]] + upto[high[split]]) / 2)
        middle = np.clip(middle, low[split] + 1, high[split] - 1)
        share = (upto[middle] - upto[low[split]]) / (upto[high[split]] - upto[low[split]])
        begin, end = _component_cut(order, weights, component, starts[split], ends[split], share)
        _sort_along_axis(order, places, begin, end)
        cut = _cut(order, weights, starts[split], ends[split], share)
        starts, ends = np.insert(starts, split + 1, cut), np.insert(ends, split, cut)
        low, high = np.insert(low, split + 1, middle), np.insert(high, split, middle)
    found = np.empty(weights.size, np.int32)
    found[order] = np.repeat(low, ends - starts)
    return found


def _cut(order: Rows, weights: Loads, starts: Positions, ends: Positions, share: Loads) -> Positions:
    """Return the place in each part before which there is that share of its weight, as nearly as can be."""
    sums = np.concatenate(([0.0], np.cumsum(weights[order])))
    wanted = sums[starts] + share * (sums[ends] - sums[starts])
    after = np.clip(np.searchsorted(sums, wanted), starts, ends)
    before = np.maximum(after - 1, starts)
    nearer: Flags = wanted - sums[before] < sums[after] - wanted
    cut: Positions = np.where(nearer, before, after)
    return cut


def _component_cut(
    order: Rows, weights: Loads, component: Rows, starts: Positions, ends: Positions, share: Loads
) -> tuple[Positions, Positions]:
    """Return, for each part, where the component begins and ends (within the part) that the cut goes through."""
    ordered = component[order]
    cut = np.minimum(_cut(order, weights, starts, ends, share), np.maximum(ends - 1, starts))
    changes = np.flatnonzero(np.diff(ordered)) + 1
    bounds = np.concatenate(([0], changes, [order.size]))
    run = np.searchsorted(bounds, cut, side="right")
    return np.maximum(bounds[run - 1], starts), np.minimum(bounds[np.minimum(run, bounds.size - 1)], ends)


def _sort_along_axis(order: Rows, places: Columns, begin: Positions, end: Positions) -> None:
    """Sort the tiles of each of these stretches of the order along the axis in which they extend most."""
    sizes = np.maximum(end - begin, 0)
    stretch = np.repeat(np.arange(begin.size), sizes)
    at = np.arange(stretch.size) + np.repeat(begin - np.cumsum(sizes) + sizes, sizes)
    along = principal(places[:, order[at]], stretch, 1)[0].astype(np.float64)
    # One key for both is quicker to sort by than two: each stretch takes an interval of one.
    along -= along.min(initial=0.0)
    along /= 2 * along.max(initial=1.0)
    order[at] = order[at][np.argsort(stretch + along, kind="stable")]
