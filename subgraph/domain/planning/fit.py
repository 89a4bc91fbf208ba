"""Owns how tiles that need not move are matched to pods with room for them: largest first, never above the target."""

import heapq

import numpy as np

from subgraph.domain.planning.columns import UNOWNED, Counts, Loads, Rows
from subgraph.domain.planning.rules import Rules


def fit_by_rules(tiles: Rows, tile_load: Loads, room: Loads, slots: Counts, rules: Rules | None) -> Rows:
    """Return a pod with room for each of these tiles, as `fit` does, on pods that its group may be on."""
    if rules is None:
        return fit(tile_load, room, slots)
    room, slots = room.copy(), slots.copy()
    targets = np.full(tiles.size, UNOWNED, np.int32)
    for group, positions in rules.by_group(tiles):
        loads = tile_load[positions]
        found = fit(loads, np.where(rules.group_allows[group], room, 0.0), slots)
        placed = found != UNOWNED
        room -= np.bincount(found[placed], weights=loads[placed], minlength=room.size)
        slots -= np.bincount(found[placed], minlength=slots.size)
        targets[positions] = found
    return targets


def fit(tile_load: Loads, room: Loads, slots: Counts) -> Rows:
    """Return a pod for each of these loads, heaviest first into the pod with most room; UNOWNED where none has enough.

    What does not fit where most room is fits nowhere, so a heap of rooms answers for all pods.
    """
    targets = np.full(tile_load.size, UNOWNED, np.int32)
    pods = np.flatnonzero((room > 0) & (slots > 0))
    heap = list(zip((-room[pods]).tolist(), pods.tolist(), slots[pods].tolist(), strict=True))
    heapq.heapify(heap)
    order = np.argsort(-tile_load, kind="stable")
    for position, load in zip(order.tolist(), tile_load[order].tolist(), strict=True):
        if not heap:
            break
        filled, pod, slots_left = heap[0]
        if load > -filled:
            continue
        targets[position] = pod
        if slots_left > 1:
            heapq.heapreplace(heap, (filled + load, pod, slots_left - 1))
        else:
            heapq.heappop(heap)
    return targets
