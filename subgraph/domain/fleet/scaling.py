"""Owns advice on the number of pods: what the load, the tiles, and surviving the loss of a pod each call for."""

import math
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

from subgraph.domain.fleet.picture import Fleet

UTILIZATION_SOUGHT = 0.7
"""Of its capacity, what a pod should bear in the mean: room for peaks, and for tiles on their way."""

TILES_SHARE_SOUGHT = 0.9
"""Of the tiles a pod may have, how many it should have."""


class ScalingDimension(StrEnum):
    """What calls for the most pods."""

    LOAD = "LOAD"
    TILES = "TILES"
    SURVIVAL = "SURVIVAL"
    NONE = "NONE"


@dataclass(frozen=True, slots=True)
class ScalingAdvice:
    """How many READY pods of the present median size there should be; `delta` is what that adds to those there are."""

    pods: int
    delta: int
    limiting: ScalingDimension
    reason: str


def advise(fleet: Fleet) -> ScalingAdvice:
    """The advice for the fleet as it is: the most demanding of three simple rules, with its figures in words."""
    ready = fleet.ready_pods()
    load, tiles = float(fleet.pod_loads().sum()), len(fleet.tiles) - len(fleet.tiles.retiring)
    if not tiles:
        return ScalingAdvice(len(ready), 0, ScalingDimension.NONE, "there are no tiles to serve")
    if not ready:
        return ScalingAdvice(1, 1, ScalingDimension.TILES, f"{tiles:,} tiles and no READY pod")
    capacity = median(pod.record.capacity for pod in ready)
    by_load = math.ceil(load / (capacity * UTILIZATION_SOUGHT))
    by_survival = math.ceil(load / capacity) + 1
    limits = [pod.record.tiles_max for pod in ready if pod.record.tiles_max]
    by_tiles = math.ceil(tiles / (median(limits) * TILES_SHARE_SOUGHT)) if len(limits) == len(ready) else 1
    wanted = {
        ScalingDimension.LOAD: (
            by_load,
            f"a load of {load:,.1f} at {UTILIZATION_SOUGHT:.0%} of a pod's {capacity:,.1f} asks for {by_load}",
        ),
        ScalingDimension.TILES: (by_tiles, f"{tiles:,} tiles within the pods' limits ask for {by_tiles}"),
        ScalingDimension.SURVIVAL: (by_survival, f"bearing the load after the loss of one pod asks for {by_survival}"),
    }
    limiting = max(wanted, key=lambda dimension: wanted[dimension][0])
    pods, reason = wanted[limiting]
    return ScalingAdvice(pods, pods - len(ready), limiting, reason)
