"""Owns the workloads: loads, pods and events, round by round, from a seed."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import h3.api.basic_int as h3
import numpy as np

from placing.fleet import Cells, Flags, Graph, Loads, Rows

SIGMA = 1.2
DRIFT = 0.12
CENTRE = (39.8, -98.6)
TILE_RESOLUTION = 7


@dataclass(frozen=True, slots=True)
class Event:
    """What happens to pods before a round: some die, some join."""

    killed: Rows
    added: Rows


@dataclass(frozen=True, slots=True, eq=False)
class Workload:
    """Row r of `loads` is the load of every tile in round r; round 0 only settles the fleet and is not counted."""

    name: str
    cells: Cells
    graph: Graph
    loads: Loads
    capacity: Loads
    live: Flags  # at the start
    pinned: Flags
    events: Mapping[int, Event] = field(default_factory=dict)

    @property
    def rounds(self) -> int:
        """How many rounds there are, the one that settles included."""
        return int(self.loads.shape[0])


def disk(tiles: int) -> Cells:
    """Return that many cells around the middle of the United States, ring by ring."""
    radius = 0
    while 3 * radius * (radius + 1) + 1 < tiles:
        radius += 1
    centre = h3.latlng_to_cell(*CENTRE, TILE_RESOLUTION)
    inner = h3.grid_disk(centre, radius - 1) if radius else []
    return np.array([*inner, *h3.grid_ring(centre, radius)][:tiles], np.int64)


def drifting(rng: np.random.Generator, tiles: int, rounds: int) -> Loads:
    """Return loads that drift by 12 % a round (the deviation of a round's factor) and stay log-normal(1.2)."""
    loads = np.empty((rounds, tiles))
    loads[0] = np.exp(rng.normal(0.0, SIGMA, tiles))
    for row in range(1, rounds):
        loads[row] = drifted(rng, loads[row - 1])
    return loads


def drifted(rng: np.random.Generator, load: Loads) -> Loads:
    """Return the loads a round later: what is far from the median tends back to it, so the distribution stays."""
    kept = np.sqrt(1 - (DRIFT / SIGMA) ** 2)
    later: Loads = np.power(load, kept) * np.exp(rng.normal(0.0, DRIFT, load.size))
    return later


def log_normal(name: str, tiles: int, pods: int, rounds: int, seed: int, known: "Workload | None" = None) -> Workload:
    """Return the plain workload of that size: equal pods, nothing pinned, no events."""
    cells, graph = (known.cells, known.graph) if known else _placed(tiles)
    loads = drifting(np.random.default_rng(seed), tiles, rounds)
    return Workload(name, cells, graph, loads, np.ones(pods), np.ones(pods, np.bool_), np.zeros(tiles, np.bool_))


def with_events(base: Workload, name: str, *, spare_pods: int, events: Mapping[int, Event]) -> Workload:
    """Return the workload with events, and with pods that are not there at first, after the others."""
    capacity = np.concatenate((base.capacity, np.ones(spare_pods)))
    live = np.concatenate((base.live, np.zeros(spare_pods, np.bool_)))
    return Workload(name, base.cells, base.graph, base.loads, capacity, live, base.pinned, events)


def with_capacities(base: Workload, name: str) -> Workload:
    """Return the workload on pods of which every second is four times as large."""
    capacity = np.where(np.arange(base.capacity.size) % 2, 4.0, 1.0)
    return Workload(name, base.cells, base.graph, base.loads, capacity, base.live, base.pinned)


def with_pins(base: Workload, name: str, share: float, seed: int) -> Workload:
    """Return the workload with that share of its tiles pinned to where the first round puts them."""
    pinned = np.random.default_rng(seed).random(base.cells.size) < share
    return Workload(name, base.cells, base.graph, base.loads, base.capacity, base.live, pinned)


def with_hot_spot(base: Workload, name: str) -> Workload:
    """Return the workload with a spot, up to six times as hot as before, that crosses it from west to east."""
    places = np.array([h3.cell_to_latlng(cell) for cell in base.cells.tolist()])
    places = (places - places.mean(axis=0)) / places.std(axis=0)
    loads = base.loads.copy()
    for row, x in enumerate(np.linspace(-2.0, 2.0, base.rounds)):
        distance_squared = places[:, 0] ** 2 + (places[:, 1] - x) ** 2
        loads[row] *= 1 + 5 * np.exp(-distance_squared / (2 * 0.35**2))
    return Workload(name, base.cells, base.graph, loads, base.capacity, base.live, base.pinned)


def killed(*pods: int) -> Event:
    """Return the event that these pods die."""
    return Event(np.array(pods, np.int32), np.empty(0, np.int32))


def added(*pods: int) -> Event:
    """Return the event that these pods join."""
    return Event(np.empty(0, np.int32), np.array(pods, np.int32))


def synthetic(*, full: bool) -> list[Workload]:
    """Return every workload but the flight days."""
    rounds = 100 if full else 25
    small = log_normal("700×5, drift", 700, 5, 400 if full else 100, seed=1)
    middle = log_normal("10K×100, drift", 10_000, 100, rounds, seed=2)
    large = log_normal("100K×1K, drift", 100_000, 1_000, 21 if full else 5, seed=3)
    one_each = {3: killed(7), 13: added(100)}
    return [
        small,
        middle,
        large,
        with_events(middle, "10K×100, one killed, one added", spare_pods=1, events=one_each),
        with_events(middle, "10K×100, ten killed at once", spare_pods=0, events={3: killed(*range(10))}),
        with_capacities(middle, "10K×100, capacities 1:4"),
        with_pins(middle, "10K×100, 5 % pinned", 0.05, seed=4),
        with_hot_spot(middle, "10K×100, moving hot spot"),
    ]


def _placed(tiles: int) -> tuple[Cells, Graph]:
    cells = disk(tiles)
    return cells, Graph.of(cells)
