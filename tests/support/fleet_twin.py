"""Owns a dumb twin of the fleet: two dictionaries with random changes, for a picture to be held against."""

import random
from typing import TypeVar

from subgraph.domain.fleet.changes import FleetChange, FleetSnapshot, Versioned
from subgraph.domain.ids import PodId, TileId
from subgraph.domain.ownership import Term, TileRecord, terms_of
from subgraph.domain.pods import PodRecord, PodStatus
from tests.support.fleets import A, B, C, held, pod, tile, tile_ids

K = TypeVar("K")
V = TypeVar("V")

TILES = 6
PODS = (A, B, C)


class FleetTwin:
    """The truth as two dictionaries, and every change that led to it."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.tiles: dict[TileId, Versioned[TileRecord]] = {}
        self.pods: dict[PodId, Versioned[PodRecord]] = {}
        self.version = 0
        self.epoch = 0

    def step(self) -> FleetChange:
        """The next change, of random tiles and pods."""
        previous, self.version = self.version, self.version + self.random.randint(1, 3)
        tiles: dict[TileId, TileRecord | None] = {}
        pods: dict[PodId, PodRecord | None] = {}
        for one in self.random.sample(tile_ids(TILES), self.random.randint(0, 3)):
            tiles[one] = None if self.random.random() < 0.3 else self._record()
        self._write(self.tiles, tiles)
        named = {one.pod_id for found in self.tiles.values() for one, _ in terms_of(found.record)}
        for pod_id in self.random.sample(PODS, self.random.randint(0, 2)):
            gone = pod_id not in named and self.random.random() < 0.5
            pods[pod_id] = None if gone else pod(status=self.random.choice(list(PodStatus)))
        for pod_id in named - self.pods.keys():
            pods[pod_id] = pod()
        self._write(self.pods, pods)
        return FleetChange(previous, self.version, tiles, pods)

    def _record(self) -> TileRecord:
        slots = {slot: self._term() for slot in ("owner", "next", "draining") if self.random.random() < 0.5}
        return tile(retiring=self.random.random() < 0.2, last_epoch=self.epoch, **slots)

    def _term(self) -> Term:
        self.epoch += 1
        return held(self.random.choice(PODS), self.epoch)

    def _write(self, into: dict[K, Versioned[V]], written: dict[K, V | None]) -> None:
        for key, record in written.items():
            if record is None:
                into.pop(key, None)
            else:
                into[key] = Versioned(self.version, record)

    def snapshot(self) -> FleetSnapshot:
        """All there is."""
        return FleetSnapshot(self.version, dict(self.tiles), dict(self.pods))

    def torn_snapshot(self, steps: int) -> tuple[FleetSnapshot, list[FleetChange]]:
        """A snapshot each of whose tiles was read at its own time since its version; and the changes since."""
        states, changes = [self.snapshot()], []
        for _ in range(steps):
            changes.append(self.step())
            states.append(self.snapshot())
        tiles: dict[TileId, Versioned[TileRecord]] = {}
        for one in tile_ids(TILES):
            read = self.random.choice(states)
            if one in read.tiles:
                tiles[one] = read.tiles[one]
        return FleetSnapshot(states[0].version, tiles, self.random.choice(states).pods), changes
