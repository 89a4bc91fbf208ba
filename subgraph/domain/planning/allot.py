"""Owns the assignment of tiles that need a pod under all hard constraints: pins, labels, slots and capacity."""

from dataclasses import replace

import numpy as np

from subgraph.domain.planning.columns import UNOWNED, Rows
from subgraph.domain.planning.deal import deal
from subgraph.domain.planning.fit import fit
from subgraph.domain.planning.policy import BalancePolicy
from subgraph.domain.planning.seed import seed
from subgraph.domain.planning.standing import TOLERANCE, Standing


def allot(tiles: Rows, standing: Standing, policy: BalancePolicy) -> Rows:
    """Return a receiving pod for each of these tiles, UNOWNED where no pod may have it.

    A pin decides alone; after the pinned ones come the groups, those with the fewest pods first.
    """
    rules = standing.rules
    if rules is None:
        return _dealt(tiles, standing, policy)
    targets = np.full(tiles.size, UNOWNED, np.int32)
    pinned = np.flatnonzero(rules.tile_pin[tiles] != UNOWNED).astype(np.int32)
    if pinned.size:
        targets[pinned] = _to_pins(tiles[pinned], standing)
        standing = _with(standing, tiles, targets, pinned)
    free = np.flatnonzero(rules.tile_pin[tiles] == UNOWNED).astype(np.int32)
    for group, positions in rules.by_group(tiles[free]):
        chosen = free[positions]
        slots = np.where(rules.group_allows[group], standing.pod_slots, 0)
        targets[chosen] = _dealt(tiles[chosen], replace(standing, pod_slots=slots), policy)
        standing = _with(standing, tiles, targets, chosen)
    return targets


def _with(standing: Standing, tiles: Rows, targets: Rows, chosen: Rows) -> Standing:
    """Return the fleet with what arrives, and nothing gone: a budget may keep a tile from leaving after all."""
    placed = chosen[targets[chosen] != UNOWNED]
    pods, loads, size = targets[placed], standing.tile_load[tiles[placed]], standing.pod_load.size
    arrived = np.bincount(pods, minlength=size)
    tile_pod = standing.tile_pod
    if standing.neighbors is not None:
        tile_pod = tile_pod.copy()
        tile_pod[tiles[placed]] = pods
    return replace(
        standing,
        tile_pod=tile_pod,
        pod_load=standing.pod_load + np.bincount(pods, weights=loads, minlength=size),
        pod_slots=np.where(standing.pod_receives, standing.pod_slots - arrived, 0),
        pod_tiles=standing.pod_tiles + arrived,
    )


def _to_pins(tiles: Rows, standing: Standing) -> Rows:
    """Return the pin of each of these tiles where it can be followed, the heaviest first where slots are short."""
    assert standing.rules is not None
    pins = standing.rules.tile_pin[tiles]
    may = standing.pod_receives[pins] & standing.rules.allow(tiles, pins)
    order = np.lexsort((-standing.tile_load[tiles], pins, ~may))[: int(np.count_nonzero(may))]
    starts = np.flatnonzero(np.diff(pins[order], prepend=UNOWNED))
    sizes = np.diff(starts, append=order.size)
    turn = np.arange(order.size) - np.repeat(starts, sizes)
    fits = turn < standing.pod_slots[pins[order]]
    if standing.capacity_hard:
        sums = np.cumsum(standing.tile_load[tiles[order]])
        sums -= np.repeat(np.concatenate(([0.0], sums))[starts], sizes)
        room = standing.pod_capacity - standing.pod_load
        fits &= sums <= room[pins[order]] * (1 + TOLERANCE)
    targets = np.full(tiles.size, UNOWNED, np.int32)
    targets[order[fits]] = pins[order[fits]]
    return targets


def _dealt(tiles: Rows, standing: Standing, policy: BalancePolicy) -> Rows:
    """Return what dealing gives; where capacity is a hard limit, what does not fit in is fitted in elsewhere."""
    loads = standing.tile_load[tiles]
    if not standing.capacity_hard:
        return _spread(tiles, standing, policy)
    room = (standing.pod_capacity - standing.pod_load) * (1 + TOLERANCE)
    open_slots = np.where(room > 0, standing.pod_slots, 0)
    targets = _spread(tiles, replace(standing, pod_slots=open_slots), policy)
    order = np.lexsort((-loads, targets))
    sums = np.cumsum(loads[order])
    starts = np.flatnonzero(np.diff(targets[order], prepend=UNOWNED - 1))
    sums -= np.repeat(np.concatenate(([0.0], sums))[starts], np.diff(starts, append=order.size))
    # An overfull pod keeps what fits, the heaviest first; the others look for a pod that has room.
    over = order[(targets[order] != UNOWNED) & (sums > room[targets[order]])]
    targets[over] = UNOWNED
    placed = targets != UNOWNED
    room -= np.bincount(targets[placed], weights=loads[placed], minlength=room.size)
    slots = standing.pod_slots - np.bincount(targets[placed], minlength=room.size)
    left, capacity = np.flatnonzero(~placed), standing.pod_capacity
    targets[left] = fit(loads[left], room, slots, capacity - room, capacity)
    return targets


def _spread(tiles: Rows, standing: Standing, policy: BalancePolicy) -> Rows:
    """Return a pod for each of these tiles, whatever its capacity: by neighbours, where they are known and matter."""
    if standing.neighbors is None or policy.locality_ratio == 0:
        return deal(standing.tile_load[tiles], standing)
    return seed(tiles, standing, policy)
