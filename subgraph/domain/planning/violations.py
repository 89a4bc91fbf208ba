"""Owns which constraints forbid a tile on a pod: violations for each pod, and one reason for an unplaceable tile."""

from enum import IntEnum

import numpy as np
import numpy.typing as npt

from subgraph.domain.planning.columns import UNOWNED, Flags, PlanningInput, Rows
from subgraph.domain.planning.reasons import UnplaceableReason
from subgraph.domain.planning.standing import TOLERANCE, Standing

NO_VIOLATION = -1


class Violation(IntEnum):
    """A constraint that a tile on a pod would violate; those that are hardest to change come first."""

    QUARANTINED = 0  # the tile is in quarantine: it stays without an owner for a while
    LABELS = 1  # the pod lacks a label that the tile's group requires, or an operator forbids it
    PINNED_ELSEWHERE = 2
    EVACUATING = 3
    NOT_ACCEPTING = 4
    FULL_TILES = 5  # it has its maximum number of tiles
    OVER_CAPACITY = 6  # with the tile its load would exceed its capacity; a hard constraint only if the policy says so


def violations_of(columns: PlanningInput, tile: int) -> list[tuple[Violation, ...]]:
    """Return, for each pod row, all constraints that the tile would violate there; none where it could be.

    Slot and load of the pod that has the tile already contain it, so only rules can be violated there.
    """
    violated = _violated(columns, Standing.of(columns), tile)
    return [tuple(code for code, holds in violated.items() if holds[pod]) for pod in range(columns.pod_capacity.size)]


def main_violations(columns: PlanningInput, standing: Standing, tile: int) -> npt.NDArray[np.int8]:
    """Return, for each pod row, the first constraint that the tile would violate there, or NO_VIOLATION.

    `standing` is that of the columns. OVER_CAPACITY counts only if it is a hard constraint there.
    """
    violated = _violated(columns, standing, tile)
    if not standing.capacity_hard:
        del violated[Violation.OVER_CAPACITY]
    return np.select(list(violated.values()), [np.int8(code) for code in violated], np.int8(NO_VIOLATION))


def _violated(columns: PlanningInput, standing: Standing, tile: int) -> dict[Violation, Flags]:
    pods = columns.pod_capacity.size
    elsewhere = np.arange(pods) != columns.tile_pod[tile]
    load_after = standing.pod_load + np.where(elsewhere, standing.tile_load[tile], 0.0)
    rules = standing.rules
    pin = UNOWNED if rules is None else int(rules.tile_pin[tile])
    allowed = np.ones(pods, np.bool_) if rules is None else rules.group_allows[rules.tile_group[tile]]
    return {
        Violation.QUARANTINED: np.full(pods, standing.tile_waits[tile]),
        Violation.LABELS: ~allowed,
        Violation.PINNED_ELSEWHERE: (np.arange(pods) != pin) & (pin != UNOWNED),
        Violation.EVACUATING: columns.pod_evacuates,
        Violation.NOT_ACCEPTING: ~columns.pod_accepts & elsewhere,
        Violation.FULL_TILES: (columns.pod_tiles_max <= standing.pod_tiles) & elsewhere,
        Violation.OVER_CAPACITY: (load_after > columns.pod_capacity * (1 + TOLERANCE)) & elsewhere,
    }


def unplaceable_reasons(tiles: Rows, standing: Standing) -> npt.NDArray[np.int8]:
    """Return the reason of each of these tiles, for which there was no pod."""
    waits = standing.tile_waits[tiles]
    return np.where(waits, np.int8(UnplaceableReason.QUARANTINED), _without_pod(tiles, standing)).astype(np.int8)


def _without_pod(tiles: Rows, standing: Standing) -> npt.NDArray[np.int8]:
    receives = standing.pod_receives
    if not receives.any():
        return np.full(tiles.size, UnplaceableReason.NO_PODS, np.int8)
    has_slot = receives & (standing.pod_slots > 0)
    full = np.int8(UnplaceableReason.ALL_PODS_FULL)
    over = np.int8(UnplaceableReason.OVER_CAPACITY) if standing.capacity_hard else full
    if standing.rules is None:
        return np.full(tiles.size, over if has_slot.any() else full, np.int8)
    rules = standing.rules
    group = rules.tile_group[tiles]
    some_pod, some_slot = (np.any(rules.group_allows & pods, axis=1)[group] for pods in (receives, has_slot))
    reasons = np.where(some_slot, over, np.where(some_pod, full, np.int8(UnplaceableReason.LABELS)))
    pinned = rules.tile_pin[tiles] != UNOWNED
    return np.where(pinned, np.int8(UnplaceableReason.PINNED), reasons).astype(np.int8)
