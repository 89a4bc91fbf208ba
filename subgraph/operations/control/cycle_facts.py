"""Owns what a control cycle reports to metrics and logs."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from subgraph.domain.fleet.changes import CycleReport
from subgraph.domain.fleet.fleet_plan import FleetMove, FleetPlan
from subgraph.domain.ids import PodId, TileId
from subgraph.domain.ownership import TileRecord


@dataclass(frozen=True, slots=True)
class CycleFacts:
    """What a cycle did, for metrics and logs. `skip`: why a regular cycle moved nothing."""

    report: CycleReport
    lost_pods: tuple[PodId, ...]
    settled_tiles: int
    moves: tuple[FleetMove, ...]
    conflicts: int
    splits: int = 0
    merges: int = 0
    quarantines: int = 0
    skip: str | None = None


def facts_of(
    report: CycleReport,
    lost: frozenset[PodId],
    settled: Mapping[TileId, TileRecord | None],
    quarantines: int,
    plan: FleetPlan | None,
    conflicts: int,
    skip: str | None,
) -> CycleFacts:
    """The facts of a cycle; a regular one that moved nothing says why in `skip`."""
    facts = CycleFacts(report, tuple(lost), len(settled), (), conflicts, quarantines=quarantines, skip=skip)
    if plan is None:
        return facts
    return replace(facts, moves=tuple(plan.moves), splits=len(plan.splits), merges=len(plan.merges))
