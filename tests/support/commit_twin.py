"""Owns a dumb twin of the live store's commits: one dictionary of tiles, and every change that led to it."""

from collections.abc import Sequence

from subgraph.domain.fleet.changes import FleetChange, FleetSnapshot, Versioned
from subgraph.domain.ids import PodId, TileId
from subgraph.domain.ownership import TileRecord
from subgraph.domain.pods import PodRecord
from subgraph.operations.fleet.fleet_writes import TILES_PER_COMMIT_MAX, Committed, Guard, PodWrite, TileWrite


class CommitTwin:
    """What the store promises of commits, in as few words as possible. Pods are written unconditionally."""

    def __init__(self) -> None:
        self.version = 0
        self.tiles: dict[TileId, Versioned[TileRecord]] = {}
        self.pods: dict[PodId, Versioned[PodRecord]] = {}
        self.changes: list[FleetChange] = []

    async def commit(
        self,
        guard: Guard,
        tiles: Sequence[TileWrite],
        pods: Sequence[PodWrite] = (),
        groups: Sequence[Sequence[TileWrite]] = (),
    ) -> Committed:
        """As the port, for whoever may write."""
        return self.write(tiles, groups)

    async def read_tiles(self, tile_ids: Sequence[TileId]) -> dict[TileId, Versioned[TileRecord]]:
        """As the port."""
        return {one: self.tiles[one] for one in tile_ids if one in self.tiles}

    def reserve(self, count: int) -> int:
        """The first of so many versions that no change will have."""
        self.version += count
        return self.version - count + 1

    def write(self, tiles: Sequence[TileWrite], groups: Sequence[Sequence[TileWrite]] = ()) -> Committed:
        """Write what compares equal: each tile by itself, each group as one."""
        units = [[one] for one in tiles] + [list(group) for group in groups]
        writes = [one for unit in units for one in unit]
        if len(writes) > TILES_PER_COMMIT_MAX:
            raise ValueError(f"at most {TILES_PER_COMMIT_MAX} tiles a commit")
        if len({one.tile_id for one in writes}) < len(writes):
            raise ValueError("a commit writes a tile once")
        equal = [unit for unit in units if all(self._version(one.tile_id) == one.expected for one in unit)]
        written = {one.tile_id: one.record for unit in equal for one in unit}
        conflicts = frozenset(one.tile_id for one in writes if one.tile_id not in written)
        return Committed(self.change(written) if written else 0, conflicts)

    def change(self, tiles: dict[TileId, TileRecord | None], pods: dict[PodId, PodRecord | None] | None = None) -> int:
        """Write these records, whatever was there; the version of the change."""
        previous = self.changes[-1].version if self.changes else 0
        version = self.reserve(1)
        for tile_id, record in tiles.items():
            if record is None:
                self.tiles.pop(tile_id, None)
            else:
                self.tiles[tile_id] = Versioned(version, record)
        for pod_id, pod in (pods or {}).items():
            if pod is None:
                self.pods.pop(pod_id, None)
            else:
                self.pods[pod_id] = Versioned(version, pod)
        self.changes.append(FleetChange(previous, version, tiles, pods or {}))
        return version

    def snapshot(self) -> FleetSnapshot:
        """All there is."""
        return FleetSnapshot(self.changes[-1].version if self.changes else 0, dict(self.tiles), dict(self.pods))

    def _version(self, tile_id: TileId) -> int:
        found = self.tiles.get(tile_id)
        return found.version if found else 0
