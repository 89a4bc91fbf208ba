"""Owns the real flight day as a workload: records of aircraft, tile by tile and minute by minute."""

import numpy as np

from placing.fleet import Graph
from placing.workloads import Workload
from subgraph.demo.flights import load_flights
from subgraph.demo.replay import Replay
from subgraph.domain.coverage.cells import DIGIT_BITS, FINEST_RESOLUTION, RESOLUTION_SHIFT, finest_cells

PODS = 20
MINUTE_SECONDS = 60.0
INTERVAL_SECONDS = 20.0
"""How often an aircraft reports: three records a minute."""


def flight_day(resolutions: tuple[int, ...], first_minute: int, minutes: int) -> list[Workload]:
    """Return a stretch of the day at each resolution, on 20 equal pods."""
    replay = Replay(load_flights(), first_minute * MINUTE_SECONDS, INTERVAL_SECONDS)
    finest, minute_of = [], []
    for minute in range(minutes):
        records = replay.advance(MINUTE_SECONDS)
        finest.append(finest_cells(records.lat.tolist(), records.lng.tolist()))
        minute_of.append(np.full(len(records), minute))
    cells_finest, row = np.concatenate(finest), np.concatenate(minute_of)
    workloads = []
    for resolution in resolutions:
        cells, tile = np.unique(_ancestors(cells_finest, resolution), return_inverse=True)
        loads = np.bincount(row * cells.size + tile, minlength=minutes * cells.size).astype(np.float64)
        workloads.append(
            Workload(
                f"flight day, resolution {resolution}",
                cells,
                Graph.of(cells),
                loads.reshape(minutes, cells.size),
                np.ones(PODS),
                np.ones(PODS, np.bool_),
                np.zeros(cells.size, np.bool_),
            )
        )
    return workloads


def _ancestors(
    cells: np.ndarray[tuple[int], np.dtype[np.int64]], resolution: int
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the ancestor of each finest cell: its digits beyond the resolution are all 7."""
    free = (1 << DIGIT_BITS * (FINEST_RESOLUTION - resolution)) - 1
    step = (FINEST_RESOLUTION - resolution) << RESOLUTION_SHIFT
    return (cells | free) - step
