"""Owns the answer to why a tile cannot be on a pod: codes for each pod, and one reason for a tile nobody can take."""

from enum import IntEnum

import numpy as np
import numpy.typing as npt

from subgraph.domain.planning.columns import UNOWNED, PlanningInput, Rows
from subgraph.domain.planning.reasons import UnplaceableReason
from subgraph.domain.planning.standing import TOLERANCE, Standing


class WhyNot(IntEnum):
    """What speaks against a tile on a pod."""

    NOT_ACCEPTING = 0
    EVACUATING = 1
    FULL_TILES = 2  # it holds as many tiles as it may
    LABELS = 3  # it lacks what the tile's group requires
    PINNED_ELSEWHERE = 4
    QUARANTINED = 5  # the tile must wait without an owner for a while
    OVER_CAPACITY = 6  # with the tile its load would exceed its capacity: forbids only where the policy says so


def why_not(columns: PlanningInput, tile: int) -> list[tuple[WhyNot, ...]]:
    """Return, for each pod row, all that speaks against the tile there; nothing where it could be.

    For the pod that has the tile, its slot and its load are there already: only the rules can speak against it.
    """
    standing, pods = Standing.of(columns), columns.pod_capacity.size
    elsewhere = np.arange(pods) != columns.tile_pod[tile]
    load_after = standing.pod_load + np.where(elsewhere, standing.tile_load[tile], 0.0)
    rules = standing.rules
    pin = UNOWNED if rules is None else int(rules.tile_pin[tile])
    allowed = np.ones(pods, np.bool_) if rules is None else rules.group_allows[rules.tile_group[tile]]
    against = {
        WhyNot.NOT_ACCEPTING: ~columns.pod_accepts & elsewhere,
        WhyNot.EVACUATING: columns.pod_evacuates,
        WhyNot.FULL_TILES: (columns.pod_tiles_max <= standing.pod_tiles) & elsewhere,
        WhyNot.LABELS: ~allowed,
        WhyNot.PINNED_ELSEWHERE: (np.arange(pods) != pin) & (pin != UNOWNED),
        WhyNot.QUARANTINED: np.full(pods, standing.tile_waits[tile]),
        WhyNot.OVER_CAPACITY: (load_after > columns.pod_capacity * (1 + TOLERANCE)) & elsewhere,
    }
    return [tuple(code for code, holds in against.items() if holds[pod]) for pod in range(pods)]


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
