"""Owns greedy matching of movable tiles to pods with room: largest first, never above the target load."""

import heapq

import numpy as np

from subgraph.domain.planning.columns import UNOWNED, Counts, Loads, Rows
from subgraph.domain.planning.rules import Rules


def fit_by_rules(
    tiles: Rows, tile_load: Loads, room: Loads, slots: Counts, pod_load: Loads, share: Loads, rules: Rules | None
) -> Rows:
    """Return a pod with room for each of these tiles, as `fit` does, on pods that its group may be on."""
    if rules is None:
        return fit(tile_load, room, slots, pod_load, share)
    room, slots, pod_load = room.copy(), slots.copy(), pod_load.copy()
    targets = np.full(tiles.size, UNOWNED, np.int32)
    for group, positions in rules.by_group(tiles):
        loads = tile_load[positions]
        found = fit(loads, np.where(rules.group_allows[group], room, 0.0), slots, pod_load, share)
        placed = found != UNOWNED
        taken = np.bincount(found[placed], weights=loads[placed], minlength=room.size)
        room, pod_load = room - taken, pod_load + taken
        slots -= np.bincount(found[placed], minlength=slots.size)
        targets[positions] = found
    return targets


def fit(tile_load: Loads, room: Loads, slots: Counts, pod_load: Loads, share: Loads) -> Rows:
    """Return a pod for each of these loads, UNOWNED where none has room enough.

    The heaviest come first, each to the pod with the least load for its share if it has room enough, else to the one
    with most room: what does not fit there fits nowhere. A cold pod may have little room, if it may not take more.
    """
    targets = np.full(tile_load.size, UNOWNED, np.int32)
    pods = np.flatnonzero((room > 0) & (slots > 0) & (share > 0)).tolist()
    queue = _Queue(pods, room.tolist(), slots.tolist(), pod_load.tolist(), share.tolist())
    order = np.argsort(-tile_load, kind="stable")
    for position, load in zip(order.tolist(), tile_load[order].tolist(), strict=True):
        pod = queue.coldest()
        if pod is None:
            break
        if queue.room[pod] < load:
            pod = queue.roomiest()
            if queue.room[pod] < load:
                continue
        queue.take(pod, load)
        targets[position] = pod
    return targets


class _Queue:
    """The pods with room, by how cold they are and by how much room they have. What a heap tells of the past is old."""

    def __init__(
        self, pods: list[int], room: list[float], slots: list[int], pod_load: list[float], share: list[float]
    ) -> None:
        self.room, self._slots, self._load, self._share = room, slots, pod_load, share
        self._by_heat = [(pod_load[pod] / share[pod], pod) for pod in pods]
        self._by_room = [(-room[pod], pod) for pod in pods]
        heapq.heapify(self._by_heat)
        heapq.heapify(self._by_room)

    def coldest(self) -> int | None:
        """Return the pod with the least load for its share, None where no pod is left."""
        while self._by_heat:
            heat, pod = self._by_heat[0]
            if self._slots[pod] > 0 and heat == self._load[pod] / self._share[pod]:
                return pod
            heapq.heappop(self._by_heat)
        return None

    def roomiest(self) -> int:
        """Return the pod with most room, where one is left."""
        while True:
            negative, pod = self._by_room[0]
            if self._slots[pod] > 0 and -negative == self.room[pod]:
                return pod
            heapq.heappop(self._by_room)

    def take(self, pod: int, load: float) -> None:
        """Note that a pod gets a tile of that load."""
        self._slots[pod] -= 1
        self.room[pod] -= load
        self._load[pod] += load
        heapq.heappush(self._by_heat, (self._load[pod] / self._share[pod], pod))
        heapq.heappush(self._by_room, (-self.room[pod], pod))
