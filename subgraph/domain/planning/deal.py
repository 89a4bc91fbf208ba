"""Owns how tiles that must go somewhere are dealt to the pods: all of them, largest first, to where most room is."""

import numpy as np

from subgraph.domain.planning.columns import UNOWNED, Counts, Loads, Positions, Rows
from subgraph.domain.planning.standing import Standing
from subgraph.domain.planning.water import water_level

# A tile is given this much of an average tile's load on top of its own, so that idle tiles spread by number.
OVERHEAD_RATIO = 0.001
# A block of tiles is dealt at once: one a pod, or this part of what is left where that is more. Smaller is closer to
# dealing one by one, and slower; what a block leaves uneven, the next ones (of lighter tiles) level.
BLOCK_DIVISOR = 16


def deal(tile_load: Loads, standing: Standing) -> Rows:
    """Return a receiving pod for each of these loads, UNOWNED where every pod is full.

    Only hard constraints bind: a pod may end above the target, because a tile without an owner is worse.
    """
    targets = np.full(tile_load.size, UNOWNED, np.int32)
    if not tile_load.size:
        return targets
    overhead = _overhead(standing)
    weights = tile_load + overhead
    order = np.argsort(-weights, kind="stable")
    burden = standing.pod_load + overhead * standing.pod_tiles
    slots = standing.pod_slots.copy()
    weight_left, dealt = float(weights.sum()), 0
    while dealt < order.size:
        pods = np.flatnonzero(slots > 0)
        if not pods.size:
            break
        block = order[dealt : dealt + max(pods.size, (order.size - dealt) // BLOCK_DIVISOR)]
        capacity = standing.pod_capacity[pods]
        want = water_level(burden[pods], capacity, weight_left) * capacity - burden[pods]
        chosen = pods[_deal_block(want, slots[pods], float(weights[block].mean()), block.size)]
        block = block[: chosen.size]
        targets[block] = chosen
        burden += np.bincount(chosen, weights=weights[block], minlength=burden.size)
        slots -= np.bincount(chosen, minlength=slots.size)
        weight_left -= float(weights[block].sum())
        dealt += block.size
    return targets


def _deal_block(want: Loads, slots: Counts, weight: float, count: int) -> Positions:
    """Return the pods (as positions) that get the next `count` tiles of about that weight, the neediest first.

    A pod stands in the queue once for every tile it wants, each time with what it would want still.
    """
    needless = -water_level(-want, np.ones_like(want), count * weight)
    times = np.minimum(np.ceil((want - needless) / weight).clip(0, count), slots).astype(np.int64)
    pods = np.repeat(np.arange(want.size), times)
    turn = np.arange(pods.size) - np.repeat(np.cumsum(times) - times, times)
    queue = np.argsort(-(want[pods] - turn * weight), kind="stable")[:count]
    return pods[queue]


def _overhead(standing: Standing) -> float:
    mean = float(standing.tile_load.mean())
    return OVERHEAD_RATIO * mean if mean > 0 else 1.0
