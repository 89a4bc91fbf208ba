"""Owns the answer to why a tile cannot be on a pod: codes for each pod, and one reason for a tile nobody can take."""

from enum import IntEnum

import numpy as np
import numpy.typing as npt

from subgraph.domain.planning.columns import UNOWNED, Flags, PlanningInput, Rows
from subgraph.domain.planning.reasons import UnplaceableReason
from subgraph.domain.planning.standing import TOLERANCE, Standing

NO_OBJECTION = -1


class WhyNot(IntEnum):
    """What speaks against a tile on a pod, what is hardest to change first."""

    QUARANTINED = 0  # the tile must wait without an owner for a while
    LABELS = 1  # the tile's group may not be there: it lacks a label, or an operator forbids it
    PINNED_ELSEWHERE = 2
    EVACUATING = 3
    NOT_ACCEPTING = 4
    FULL_TILES = 5  # it holds as many tiles as it may
    OVER_CAPACITY = 6  # with the tile its load would exceed its capacity: forbids only where the policy says so


def why_not(columns: PlanningInput, tile: int) -> list[tuple[WhyNot, ...]]:
    """Return, for each pod row, all that speaks against the tile there; nothing where it could be.

    For the pod that has the tile, its slot and its load are there already: only the rules can speak against it.
    """
    against = _against(columns, Standing.of(columns), tile)
    return [tuple(code for code, holds in against.items() if holds[pod]) for pod in range(columns.pod_capacity.size)]


def main_objections(columns: PlanningInput, standing: Standing, tile: int) -> npt.NDArray[np.int8]:
    """Return, for each pod row, the first that speaks against the tile there, NO_OBJECTION where it could be.

    `standing` is that of the columns; over-capacity speaks against a pod only where it is a hard limit there.
    """
    against = _against(columns, standing, tile)
    if not standing.capacity_hard:
        del against[WhyNot.OVER_CAPACITY]
    return np.select(list(against.values()), [np.int8(code) for code in against], np.int8(NO_OBJECTION))


def _against(columns: PlanningInput, standing: Standing, tile: int) -> dict[WhyNot, Flags]:
    pods = columns.pod_capacity.size
    elsewhere = np.arange(pods) != columns.tile_pod[tile]
    load_after = standing.pod_load + np.where(elsewhere, standing.tile_load[tile], 0.0)
    rules = standing.rules
    pin = UNOWNED if rules is None else int(rules.tile_pin[tile])
    allowed = np.ones(pods, np.bool_) if rules is None else rules.group_allows[rules.tile_group[tile]]
    return {
        WhyNot.QUARANTINED: np.full(pods, standing.tile_waits[tile]),
        WhyNot.LABELS: ~allowed,
        WhyNot.PINNED_ELSEWHERE: (np.arange(pods) != pin) & (pin != UNOWNED),
        WhyNot.EVACUATING: columns.pod_evacuates,
        WhyNot.NOT_ACCEPTING: ~columns.pod_accepts & elsewhere,
        WhyNot.FULL_TILES: (columns.pod_tiles_max <= standing.pod_tiles) & elsewhere,
        WhyNot.OVER_CAPACITY: (load_after > columns.pod_capacity * (1 + TOLERANCE)) & elsewhere,
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
