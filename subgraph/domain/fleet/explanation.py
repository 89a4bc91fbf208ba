"""Owns the account of one tile's placement: every live pod as a place for it, with what speaks for and against."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from subgraph.domain.fleet.columns import REALITY, fleet_columns
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.fleet.plans import PlacementPolicy
from subgraph.domain.fleet.rejections import FORBIDDEN, MissingLabels, missing_labels
from subgraph.domain.ids import PodId, TileId
from subgraph.domain.planning.explain import explain
from subgraph.domain.planning.violations import Violation


@dataclass(frozen=True, slots=True)
class Candidate:
    """A pod as a place for a tile: what speaks against it, and what it would be like."""

    pod_id: PodId
    feasible: bool
    rejected_by: tuple[str, ...]
    missing_labels: MissingLabels
    score: float
    score_terms: Mapping[str, float]


def explain_tile(fleet: Fleet, tile_id: TileId, now_ms: int, policy: PlacementPolicy) -> list[Candidate]:
    """Why a tile is where it is: every live pod as a place for it, best first (by the gain of having it there).

    Terms: `utilizationAfter` of the pod with the tile, `gain` in utilization of the hotter of the two pods, `churn` the
    load that would move, `neighborsKept` the neighbouring tiles the pod has.
    """
    columns = fleet_columns(fleet, {}, (), now_ms, policy.cool_down_ms, REALITY)
    row = fleet.tiles.row(tile_id)
    position = np.flatnonzero(columns.tile_rows == row)
    if not len(position):
        return []
    told = explain(columns.input, policy.balance, int(position[0]))
    assert row is not None
    required, forbidden = fleet.tiles.requirements.of(row), fleet.tiles.forbidden.get(row, ())
    missing = [missing_labels(required, pod) for pod in columns.pods]
    candidates = [
        Candidate(
            pod.id,
            bool(told.possible[index]),
            _names(told.violations[index], lacks_labels=bool(missing[index]), is_forbidden=pod.id in forbidden),
            missing[index],
            float(told.gain[index]),
            {
                "utilizationAfter": float(told.utilization_after[index]),
                "gain": float(told.gain[index]),
                "churn": float(told.churn[index]),
                "neighborsKept": float(told.neighbors_kept[index]),
            },
        )
        for index, pod in enumerate(columns.pods)
    ]
    return sorted(candidates, key=lambda one: (not one.feasible, -one.score, one.pod_id))


def _names(codes: Sequence[Violation], *, lacks_labels: bool, is_forbidden: bool) -> tuple[str, ...]:
    by_rules = [name for name, holds in ((Violation.LABELS.name, lacks_labels), (FORBIDDEN, is_forbidden)) if holds]
    return tuple(name for code in codes for name in (by_rules if code is Violation.LABELS else [code.name]))
