"""Owns greedy assignment of tiles that need a pod: largest tile first, to the pod with the most room for it."""

import heapq

import numpy as np

from subgraph.domain.planning.columns import UNOWNED, Counts, Loads, Positions, Rows
from subgraph.domain.planning.standing import Standing
from subgraph.domain.planning.water import water_level

# A tile is given this much of an average tile's load on top of its own, so that light ones spread by number too.
OVERHEAD_RATIO = 0.001
# So many of the heaviest are dealt one by one. The others are dealt in blocks: one a pod, or this part of what is left
# where that is more. What a block leaves uneven, the next ones (of lighter tiles) level.
ONE_BY_ONE_MAX = 8_192
BLOCK_DIVISOR = 16


def deal(tile_load: Loads, standing: Standing) -> Rows:
    """Return a receiving pod for each of these loads, UNOWNED where every pod is full.

    Only hard constraints bind: a pod may end above the target, because a tile without an owner is worse. What is idle
    goes by number alone: it will not be idle for ever, and then a pod that had got most of it would have most to do.
    """
    targets = np.full(tile_load.size, UNOWNED, np.int32)
    overhead = OVERHEAD_RATIO * float(standing.tile_load.mean()) if standing.tile_load.size else 0.0
    slots, pod_tiles = standing.pod_slots.copy(), standing.pod_tiles.copy()
    for idle in (False, True):
        chosen = np.flatnonzero((tile_load <= 0) == idle)
        weights = np.ones(chosen.size) if idle else tile_load[chosen] + overhead
        burden = pod_tiles.astype(np.float64) if idle else standing.pod_load + overhead * pod_tiles
        targets[chosen] = _dealt(weights, burden, standing.pod_capacity, slots)
        got = np.bincount(targets[chosen] + 1, minlength=slots.size + 1)[1:]
        slots, pod_tiles = slots - got, pod_tiles + got
    return targets


def _dealt(weights: Loads, burden: Loads, capacity: Loads, slots: Counts) -> Rows:
    """Return a pod for each of these weights: the heaviest one by one, the others block by block."""
    targets = np.full(weights.size, UNOWNED, np.int32)
    order = np.argsort(-weights, kind="stable")
    burden, slots = burden.copy(), slots.copy()
    weight_left, dealt = float(weights.sum()), 0
    while dealt < order.size:
        pods = np.flatnonzero(slots > 0)
        if not pods.size:
            break
        want = water_level(burden[pods], capacity[pods], weight_left) * capacity[pods] - burden[pods]
        if dealt == 0:
            block = order[:ONE_BY_ONE_MAX]
            chosen = pods[_deal_one_by_one(want, slots[pods], weights[block])]
        else:
            block = order[dealt : dealt + max(pods.size, (order.size - dealt) // BLOCK_DIVISOR)]
            chosen = pods[_deal_block(want, slots[pods], float(weights[block].mean()), block.size)]
        block = block[: chosen.size]
        targets[block] = chosen
        burden += np.bincount(chosen, weights=weights[block], minlength=burden.size)
        slots -= np.bincount(chosen, minlength=slots.size)
        weight_left -= float(weights[block].sum())
        dealt += block.size
    return targets


def _deal_one_by_one(want: Loads, slots: Counts, weights: Loads) -> Positions:
    """Return, for each of these weights, the pod (as a position) that wants most when its turn comes."""
    heap = list(zip((-want).tolist(), range(want.size), slots.tolist(), strict=True))
    heapq.heapify(heap)
    chosen = []
    for weight in weights.tolist():
        if not heap:
            break
        wanted, pod, slots_left = heap[0]
        chosen.append(pod)
        if slots_left > 1:
            heapq.heapreplace(heap, (wanted + weight, pod, slots_left - 1))
        else:
            heapq.heappop(heap)
    return np.array(chosen, np.intp)


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
