"""Owns which pods a tile may be on, by labels and by an operator's word: tiles with one answer are one group."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from subgraph.domain.fleet.pod_table import PodRow
from subgraph.domain.fleet.requirements import NO_LABELS, LabelSet
from subgraph.domain.fleet.tile_table import TileTable
from subgraph.domain.planning.columns import Flags, Rows


def tile_groups(tiles: TileTable, tile_rows: npt.NDArray[np.intp], pods: Sequence[PodRow]) -> tuple[Rows, Flags] | None:
    """The group of each of these tiles, and which of these pods each group may be on; None: any tile may be anywhere.

    Sets of labels that the same pods bear are one group, so there are never more groups than different answers.
    """
    set_of_tile, sets = tiles.requirements.sets_of(tile_rows)
    if not tiles.forbidden and not any(sets):
        return None
    bearing, groups = _bearing(sets, pods), _Groups()
    tile_group = np.array([groups.of(mask) for mask in bearing], np.int32)[set_of_tile]
    index_of = {pod.id: index for index, pod in enumerate(pods)}
    for row, pod_ids in tiles.forbidden.items():
        position = int(np.searchsorted(tile_rows, row))
        if position < tile_rows.size and tile_rows[position] == row:
            allowed = bearing[set_of_tile[position]].copy()
            allowed[[index_of[pod_id] for pod_id in pod_ids if pod_id in index_of]] = False
            tile_group[position] = groups.of(allowed)
    group_allows = np.stack(groups.masks)
    return None if group_allows.all() else (tile_group, group_allows)


class _Groups:
    """Masks of pods, each kept once."""

    def __init__(self) -> None:
        self.masks: list[Flags] = []
        self._group_of: dict[bytes, int] = {}

    def of(self, mask: Flags) -> int:
        """The group of a mask."""
        key = mask.tobytes()
        if key not in self._group_of:
            self._group_of[key] = len(self.masks)
            self.masks.append(mask)
        return self._group_of[key]


def _bearing(sets: Sequence[LabelSet], pods: Sequence[PodRow]) -> list[Flags]:
    """For each set of labels, which pods bear all of them."""
    needed = NO_LABELS.union(*sets)
    bearers: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for index, pod in enumerate(pods):
        for label in needed.intersection(pod.record.borne_labels.items()):
            bearers[label].append(index)
    masks = []
    for labels in sets:
        borne = np.zeros(len(pods), np.int32)
        for label in labels:
            borne[bearers[label]] += 1
        masks.append(borne == len(labels))
    return masks
