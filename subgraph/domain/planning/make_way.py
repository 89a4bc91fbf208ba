"""Owns the phase that makes way where rules leave tiles without a slot: others that could be elsewhere go there.

Dealing gives each group what its pods have left, so a tile may find all pods that it may be on full of tiles that need
not be there. The shortest chain of moves that ends at a free slot is an augmenting path of the matching of tiles and
slots; while there is one, one more tile finds a place, and when there is none, no order of dealing would have helped
(Berge, 1957).
"""

from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from subgraph.domain.planning.allowance import Allowance
from subgraph.domain.planning.columns import UNOWNED, Counts, Flags, Rows
from subgraph.domain.planning.rules import Rules
from subgraph.domain.planning.standing import Moves, Standing

# Each takes a search through groups and pods; what is left is for another round.
CHAINS_MAX = 64

_Kind = tuple[int, int]  # a group, and a pin or UNOWNED


def make_way(standing: Standing, waiting: Rows, moved: Rows, allowance: Allowance) -> Moves:
    """Return moves after which as many as possible of the waiting tiles have a place, theirs among them.

    Args:
        standing: the fleet after placing, evacuating and repairing.
        waiting: tiles for which there was no pod; those that have an owner still work there.
        moved: tiles that this round moves anyway: they may go elsewhere instead, at no cost.
        allowance: what may move besides, of tiles that have an owner.
    """
    rules = standing.rules
    # Where capacity binds, one tile's room is not another's.
    if rules is None or not waiting.size or standing.capacity_hard or not (standing.pod_slots > 0).any():
        return Moves.none()
    search = _Search.of(standing, rules, moved)
    for kind, tiles in _kinds(rules, waiting[np.argsort(-standing.tile_load[waiting], kind="stable")]):
        allowance = search.place(kind, tiles, allowance)
    return search.moves()


def _kinds(rules: Rules, tiles: Rows) -> Iterator[tuple[_Kind, list[int]]]:
    """Yield tiles with the same choice of pods together, in their order; the pinned ones first: they have no choice."""
    of_kind: defaultdict[_Kind, list[int]] = defaultdict(list)
    for tile, group, pin in zip(
        tiles.tolist(), rules.tile_group[tiles].tolist(), rules.tile_pin[tiles].tolist(), strict=True
    ):
        of_kind[group, pin].append(tile)
    yield from sorted(of_kind.items(), key=lambda item: item[0][1] == UNOWNED)


@dataclass(slots=True, eq=False)
class _Search:
    """Where tiles are, changing as chains of moves are found."""

    standing: Standing
    rules: Rules
    is_moved: Flags
    may_go: Rows  # tiles that may make way, pod by pod; those that go last come first
    pod_starts: Counts  # where each pod's tiles begin in it
    tile_pod: Rows
    slots: Counts
    is_closed: Flags  # pods from which no chain leads to a free slot
    at: dict[int, dict[int, list[int]]] = field(default_factory=dict)  # pod to group to tiles, of pods looked at
    chains: int = 0

    @classmethod
    def of(cls, standing: Standing, rules: Rules, moved: Rows) -> "_Search":
        is_moved = np.zeros(standing.tile_pod.size, np.bool_)
        is_moved[moved] = True
        receives = np.append(standing.pod_receives, False)  # the last one stands for UNOWNED
        free = (standing.tile_movable | is_moved) & (rules.tile_pin == UNOWNED)
        tiles = np.flatnonzero(free & receives[standing.tile_pod]).astype(np.int32)
        pods = standing.tile_pod[tiles]
        # Those that move anyway go first, then the lightest.
        tiles = tiles[np.lexsort((-standing.tile_load[tiles], is_moved[tiles], pods))]
        counts = np.bincount(pods, minlength=standing.pod_slots.size)
        return cls(
            standing,
            rules,
            is_moved,
            tiles,
            np.concatenate(([0], np.cumsum(counts))),
            standing.tile_pod.copy(),
            standing.pod_slots.copy(),
            np.zeros(standing.pod_slots.size, np.bool_),
        )

    def place(self, kind: _Kind, tiles: list[int], allowance: Allowance) -> Allowance:
        """Find places for tiles of one kind while there are any; return what is left of the allowance."""
        for tile in tiles:
            chain = self._chain(kind) if self.chains < CHAINS_MAX else None
            if chain is None:
                break
            steps = self._steps(tile, chain)
            paid = [one for one, _ in steps[:-1] if self.standing.tile_pod[one] != UNOWNED and not self.is_moved[one]]
            load = float(self.standing.tile_load[paid].sum())
            if paid and not allowance.admits_together(load, len(paid)):
                break
            allowance = allowance.less(load, len(paid)) if paid else allowance
            self._apply(steps)
            self.chains += 1
        return allowance

    def moves(self) -> Moves:
        """Return where tiles ended that are not where they were."""
        tiles = np.flatnonzero(self.tile_pod != self.standing.tile_pod).astype(np.int32)
        return Moves(tiles, self.tile_pod[tiles])

    def _chain(self, kind: _Kind) -> list[tuple[int, int]] | None:
        """Return the shortest chain that ends at a free slot: pods, each with the group that a tile comes of."""
        group, pin = kind
        start = self.rules.group_allows[group] & self.standing.pod_receives
        if pin != UNOWNED:
            start &= np.arange(start.size) == pin
        start &= ~self.is_closed
        came_from: dict[
            int, tuple[int, int]
        ] = {}  # pod to the pod before it, and the group whose tile comes from there
        seen, expanded = start.copy(), set[int]()
        queue = deque(self._by_room(np.flatnonzero(start)))
        while queue:
            pod = queue.popleft()
            if self.slots[pod] > 0:
                return self._back(pod, came_from, group)
            for other, tiles in self._tiles_at(pod).items():
                if other in expanded or not tiles:
                    continue
                expanded.add(other)
                found = self.rules.group_allows[other] & self.standing.pod_receives & ~seen & ~self.is_closed
                seen |= found
                came_from |= dict.fromkeys(np.flatnonzero(found).tolist(), (pod, other))
                queue.extend(self._by_room(np.flatnonzero(found)))
        # Chains to come lead through none of these: what is there stays there, and no slot gets free.
        self.is_closed |= seen
        return None

    def _tiles_at(self, pod: int) -> dict[int, list[int]]:
        """Return the tiles of a pod that may make way, by group; who goes next comes last."""
        if pod not in self.at:
            tiles = self.may_go[self.pod_starts[pod] : self.pod_starts[pod + 1]]
            by_group: dict[int, list[int]] = {}
            for tile, group in zip(tiles.tolist(), self.rules.tile_group[tiles].tolist(), strict=True):
                by_group.setdefault(group, []).append(tile)
            self.at[pod] = by_group
        return self.at[pod]

    def _by_room(self, pods: "np.ndarray[tuple[int], np.dtype[np.intp]]") -> list[int]:
        """Return pods with a free slot first, the least utilized of them first of all."""
        order = np.lexsort((self.standing.utilization[pods], self.slots[pods] <= 0))
        ordered: list[int] = pods[order].tolist()
        return ordered

    @staticmethod
    def _back(pod: int, came_from: dict[int, tuple[int, int]], group: int) -> list[tuple[int, int]]:
        chain = []
        while pod in came_from:
            before, other = came_from[pod]
            chain.append((pod, other))
            pod = before
        return [*chain, (pod, group)]

    def _steps(self, tile: int, chain: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Return tiles and where they go: from the free slot back to the waiting tile, which comes last."""
        steps = [(self._tiles_at(source)[group][-1], target) for (target, group), (source, _) in pairwise(chain)]
        return [*steps, (tile, chain[-1][0])]

    def _apply(self, steps: list[tuple[int, int]]) -> None:
        self.slots[steps[0][1]] -= 1
        for tile, target in steps:
            group = int(self.rules.tile_group[tile])
            if tile != steps[-1][0]:
                self.at[int(self.tile_pod[tile])][group].pop()
            self.tile_pod[tile] = target
            if self.rules.tile_pin[tile] == UNOWNED:
                self._tiles_at(target).setdefault(group, []).append(tile)
