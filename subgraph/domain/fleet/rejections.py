"""Owns why pods cannot have a tile, in words: labels that are missing, an operator's word, or the pod's own state."""

from collections.abc import Sequence
from dataclasses import replace

import msgspec
import numpy as np
import numpy.typing as npt

from subgraph.domain.fleet.columns import FleetColumns
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.fleet.pod_table import PodRow
from subgraph.domain.fleet.requirements import LabelSet
from subgraph.domain.ids import PodId
from subgraph.domain.planning.columns import UNOWNED, Flags, PlanningInput
from subgraph.domain.planning.plan import Plan
from subgraph.domain.planning.standing import Standing
from subgraph.domain.planning.violations import NO_VIOLATION, Violation, main_violations

FORBIDDEN = "FORBIDDEN"
"""An operator wants the tile off the pod. To the planner that is one more group that is not allowed there."""
EXPLAINED_MAX = 100
"""Different answers that one plan gives in full; of further tiles it only says the kind of reason."""
REJECTIONS_MAX = 20
PODS_NAMED_MAX = 20

MissingLabels = tuple[tuple[str, str], ...]


class Rejection(msgspec.Struct, frozen=True, array_like=True):
    """Pods that cannot have a tile for the same reason: how many, and the first of them by id."""

    reason: str
    missing_labels: MissingLabels
    pod_count: int
    pod_ids: tuple[PodId, ...]


def missing_labels(required: LabelSet, pod: PodRow) -> MissingLabels:
    """What a pod would have to bear besides what it bears."""
    borne = pod.record.borne_labels
    return tuple(sorted((key, value) for key, value in required if borne.get(key) != value))


class Rejections:
    """Why the tiles that a plan leaves without a place have none, with all its moves counted as made."""

    def __init__(self, fleet: Fleet, columns: FleetColumns, plan: Plan, *, capacity_hard: bool) -> None:
        self._tiles, self._columns = fleet.tiles, columns
        self._input = _carried_out(columns.input, plan)
        self._standing = Standing.of(self._input, capacity_hard=capacity_hard)
        self._bearers: dict[tuple[str, str], Flags] = {}
        self._answer_of: dict[tuple[object, ...], int] = {}
        self.answers: list[tuple[Rejection, ...]] = []
        """Each different answer once; the most pods first."""

    def of(self, tile: int) -> int | None:
        """The position among the answers of that for a tile (a row of the planner's); None: there are too many."""
        row = int(self._columns.tile_rows[tile])
        required, forbidden = self._tiles.requirements.of(row), self._tiles.forbidden.get(row, ())
        pin = UNOWNED if self._input.tile_pin is None else int(self._input.tile_pin[tile])
        load = float(self._standing.tile_load[tile]) if self._standing.capacity_hard else 0.0
        owner, waits = int(self._input.tile_pod[tile]), bool(self._standing.tile_waits[tile])
        asked = (required, forbidden, pin, load, owner, waits)
        if asked not in self._answer_of and len(self.answers) < EXPLAINED_MAX:
            self._answer_of[asked] = len(self.answers)
            self.answers.append(self._answer(tile, required, forbidden))
        return self._answer_of.get(asked)

    def _answer(self, tile: int, required: LabelSet, forbidden: Sequence[PodId]) -> tuple[Rejection, ...]:
        codes = main_violations(self._input, self._standing, tile)
        rejections: list[Rejection] = []
        for code in np.unique(codes[codes != NO_VIOLATION]).tolist():
            pods = np.flatnonzero(codes == code)
            if code == Violation.LABELS:
                rejections += self._by_rules(pods, required, frozenset(forbidden))
            else:
                rejections.append(self._rejection(Violation(code).name, (), pods))
        return tuple(sorted(rejections, key=lambda one: -one.pod_count)[:REJECTIONS_MAX])

    def _by_rules(self, pods: npt.NDArray[np.intp], required: LabelSet, forbidden: frozenset[PodId]) -> list[Rejection]:
        """Pods that lack the same labels are one answer; those that lack none are forbidden."""
        labels = sorted(required)
        lacks = np.array([~self._bear(label)[pods] for label in labels], np.bool_).reshape(len(labels), pods.size)
        patterns, which = np.unique(lacks.T, axis=0, return_inverse=True)
        rejections = []
        for position, pattern in enumerate(patterns):
            missing = tuple(label for label, lacking in zip(labels, pattern.tolist(), strict=True) if lacking)
            these = pods[which.reshape(-1) == position]
            rejections.append(self._rejection(Violation.LABELS.name if missing else FORBIDDEN, missing, these))
        return rejections

    def _bear(self, label: tuple[str, str]) -> Flags:
        if label not in self._bearers:
            key, value = label
            borne = [pod.record.borne_labels.get(key) == value for pod in self._columns.pods]
            self._bearers[label] = np.array(borne, np.bool_)
        return self._bearers[label]

    def _rejection(self, reason: str, missing: MissingLabels, pods: npt.NDArray[np.intp]) -> Rejection:
        named = sorted(self._columns.pods[pod].id for pod in pods.tolist())[:PODS_NAMED_MAX]
        return Rejection(reason, missing, pods.size, tuple(named))


def _carried_out(columns: PlanningInput, plan: Plan) -> PlanningInput:
    tile_pod = columns.tile_pod.copy()
    tile_pod[plan.tiles] = plan.targets
    return replace(columns, tile_pod=tile_pod)
