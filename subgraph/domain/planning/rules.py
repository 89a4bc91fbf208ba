"""Owns placement constraints: labels that groups of tiles require, and pins."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from subgraph.domain.planning.columns import UNOWNED, Flags, Loads, PlanningInput, Rows


@dataclass(frozen=True, eq=False)
class Rules:
    """The group of every tile, the pods each group may be on, and the pod each tile is pinned to (UNOWNED: none)."""

    tile_group: Rows
    group_allows: Flags
    tile_pin: Rows

    @classmethod
    def of(cls, columns: PlanningInput) -> "Rules | None":
        """Return the rules of this fleet, None where every tile may be anywhere."""
        tiles, pods = columns.tile_load.size, columns.pod_capacity.size
        group, allows, pin = columns.tile_group, columns.group_allows, columns.tile_pin
        restricts = group is not None and allows is not None and not allows.all()
        pins = pin is not None and bool((pin != UNOWNED).any())
        if not restricts and not pins:
            return None
        return cls(
            tile_group=group if restricts and group is not None else np.zeros(tiles, np.int32),
            group_allows=allows if restricts and allows is not None else np.ones((1, pods), np.bool_),
            tile_pin=pin if pins and pin is not None else np.full(tiles, UNOWNED, np.int32),
        )

    @cached_property
    def groups(self) -> list[int]:
        """The groups, those with the fewest pods first: who has less choice chooses first."""
        return [int(group) for group in np.argsort(self.group_allows.sum(axis=1), kind="stable")]

    def allow(self, tiles: Rows, pods: Rows) -> Flags:
        """Return, pair by pair, whether the labels allow the tile on the pod. A pin is another matter."""
        allowed: Flags = self.group_allows[self.tile_group[tiles], pods]
        return allowed

    def heaviest_allowed(self, tiles: Rows, room: Loads) -> Loads:
        """Return, tile by tile, the most room on any pod that its group may be on."""
        most: Loads = np.where(self.group_allows, room, 0.0).max(axis=1, initial=0.0)
        return most[self.tile_group[tiles]]

    def by_group(self, tiles: Rows) -> list[tuple[int, Rows]]:
        """Return each group that occurs among these tiles, with the positions where it does; least choice first."""
        if len(self.groups) == 1:
            return [(0, np.arange(tiles.size, dtype=np.int32))] if tiles.size else []
        group = self.tile_group[tiles]
        order = np.argsort(group, kind="stable").astype(np.int32)
        ends = np.searchsorted(group[order], np.arange(len(self.groups) + 1))
        parts = ((which, order[ends[which] : ends[which + 1]]) for which in self.groups)
        return [(which, positions) for which, positions in parts if positions.size]
