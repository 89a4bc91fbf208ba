"""Advice on the number of pods: the most demanding rule decides, and says why."""

import h3.api.basic_int as h3
import pytest

from subgraph.domain.fleet.changes import FleetSnapshot, Versioned
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.fleet.scaling import ScalingDimension, advise
from subgraph.domain.ids import PodId, SessionId, TenantId, tile_id
from subgraph.domain.ownership import AssignmentReason, Term, TileRecord
from subgraph.domain.pods import PodRecord, PodStatus


def fleet_with(loads: list[float], pods: int, capacity: float = 100.0, tiles_max: int | None = None) -> Fleet:
    """A fleet whose first pod owns all tiles."""
    fleet = Fleet()
    cells = list(h3.grid_disk(h3.latlng_to_cell(40, -100, 5), 20))[: len(loads)]
    owner = Term(PodId("pod-0"), 1, AssignmentReason.INITIAL, 0, ready=True, acknowledged_at_ms=1)
    records = {
        PodId(f"pod-{i}"): Versioned(1, PodRecord("s", capacity, 3000, "t", 0, PodStatus.READY, tiles_max=tiles_max))
        for i in range(pods)
    }
    held = owner if pods else None
    tiles = {
        tile_id(SessionId("s"), cell): Versioned(1, TileRecord(TenantId("t"), owner=held, last_epoch=1))
        for cell in cells
    }
    fleet.adopt(FleetSnapshot(1, tiles, records))
    fleet.tiles.smoothed[: len(loads)] = loads
    return fleet


@pytest.mark.parametrize(
    ("loads", "pods", "tiles_max", "wanted", "limiting"),
    [
        ([], 3, None, 3, ScalingDimension.NONE),
        ([1.0], 0, None, 1, ScalingDimension.TILES),
        ([10.0] * 56, 2, None, 8, ScalingDimension.LOAD),
        ([10.0] * 9, 5, None, 2, ScalingDimension.LOAD),
        ([60.0], 1, None, 2, ScalingDimension.SURVIVAL),
        ([0.1] * 100, 2, 10, 12, ScalingDimension.TILES),
    ],
)
def test_the_most_demanding_rule_decides(
    loads: list[float], pods: int, tiles_max: int | None, wanted: int, limiting: ScalingDimension
) -> None:
    advice = advise(fleet_with(loads, pods, tiles_max=tiles_max))
    assert (advice.pods, advice.delta, advice.limiting) == (wanted, wanted - pods, limiting)
    assert advice.reason


def test_the_reason_holds_the_figures() -> None:
    advice = advise(fleet_with([10.0] * 56, 2))
    assert advice.reason == "a load of 560.0 at 70% of a pod's 100.0 asks for 8"
