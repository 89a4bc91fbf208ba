"""Owns the books the greedy rivals keep: tiles and load of each pod, the hottest and the coldest one at any time."""

import heapq
from itertools import pairwise

import numpy as np

from placing.fleet import UNOWNED, Fleet, Rows


class Book:
    """An assignment under change. Utilization is relative: 1 is the fair one."""

    def __init__(self, fleet: Fleet) -> None:
        """Open the book, with what has no owner placed first: largest first, where most room is."""
        self.fleet = fleet
        self.owner = fleet.owner.copy()
        self.share = fleet.fair_share.tolist()
        self.load = fleet.pod_load(fleet.owner).tolist()
        self.live = np.flatnonzero(fleet.live).tolist()
        order = np.argsort(fleet.owner, kind="stable")
        ends = np.searchsorted(fleet.owner[order], np.arange(-1, fleet.capacity.size), side="right")
        self.tiles = [set(order[a:b].tolist()) for a, b in pairwise(ends.tolist())]
        self._hot: list[tuple[float, int]] = []
        self._cold: list[tuple[float, int]] = []
        self._out: set[int] = set()
        for pod in self.live:
            self._note(pod)
        homeless = order[: ends[0]]
        for tile in homeless[np.argsort(-fleet.load[homeless], kind="stable")].tolist():
            self.move(tile, self.coldest())

    def utilization(self, pod: int) -> float:
        """Return the load over the fair share."""
        return float(self.load[pod] / self.share[pod])

    def hottest(self) -> int | None:
        """Return the hottest pod that is not set aside."""
        while self._hot:
            negative, pod = self._hot[0]
            if pod not in self._out and -negative == self.utilization(pod):
                return pod
            heapq.heappop(self._hot)
        return None

    def coldest(self) -> int:
        """Return the coldest pod."""
        while self._cold[0][0] != self.utilization(self._cold[0][1]):
            heapq.heappop(self._cold)
        return self._cold[0][1]

    def coldest_few(self, count: int) -> list[int]:
        """Return the coldest pods, the coldest first."""
        found: dict[int, float] = {}
        while self._cold and len(found) < count:
            utilization, pod = heapq.heappop(self._cold)
            if utilization == self.utilization(pod):
                found[pod] = utilization
        for pod, utilization in found.items():
            heapq.heappush(self._cold, (utilization, pod))
        return list(found)

    def set_aside(self, pod: int) -> None:
        """Leave a pod out of the hottest from now on."""
        self._out.add(pod)

    def movable(self, pod: int) -> Rows:
        """Return the tiles of a pod that may move and have a load."""
        tiles = np.fromiter(self.tiles[pod], np.int32, len(self.tiles[pod]))
        return tiles[self.fleet.movable[tiles] & (self.fleet.load[tiles] > 0)]

    def move(self, tile: int, pod: int) -> None:
        """Move a tile."""
        source, load = int(self.owner[tile]), float(self.fleet.load[tile])
        if source != UNOWNED:
            self.tiles[source].discard(tile)
            self.load[source] -= load
            self._note(source)
        self.tiles[pod].add(tile)
        self.load[pod] += load
        self.owner[tile] = pod
        self._note(pod)

    def _note(self, pod: int) -> None:
        utilization = self.utilization(pod)
        heapq.heappush(self._hot, (-utilization, pod))
        heapq.heappush(self._cold, (utilization, pod))
