"""Owns the reasons a plan gives: why a tile moves, why it cannot be placed or split, why nothing changes."""

from enum import IntEnum, StrEnum


class MoveReason(IntEnum):
    """Why a tile gets another owner; small integers, because a plan holds one for each move in a column."""

    PLACED = 0  # it had no owner; the caller knows whether it never had one or its pod was lost
    EVACUATED = 1  # its pod drains
    BALANCED = 2  # its pod was too hot
    REPAIRED = 3  # a pin or its labels want it elsewhere
    FILLED = 4  # the pod it goes to holds too little


class UnplaceableReason(IntEnum):
    """Why a tile that needs another owner gets none."""

    NO_PODS = 0  # no pod accepts tiles
    ALL_PODS_FULL = 1  # every pod that accepts holds as many tiles as it may
    LABELS = 2  # no pod that accepts tiles is one that its group may be on
    PINNED = 3  # the pod it is pinned to cannot have it
    OVER_CAPACITY = 4  # where there is a slot, its load would exceed the capacity, and that is a hard limit
    QUARANTINED = 5  # it must wait without an owner for a while


class UnsplitReason(IntEnum):
    """Why a tile that is too hot does not split."""

    FINEST_RESOLUTION = 0  # it is as fine as it may get
    NOT_SETTLED = 1  # it is moving, nobody works on it yet, or tiles that an earlier merge replaced have not gone
    PINNED = 2  # its parts would stay together
    POD_FULL = 3  # its pod may not have as many tiles
    SESSION_FULL = 4  # its session may not have as many tiles
    BUDGET_EXHAUSTED = 5  # hotter ones split in this round


class SkipReason(StrEnum):
    """Why a plan moves nothing."""

    PAUSED = "PAUSED"
    NO_TILES = "NO_TILES"
    NO_PODS = "NO_PODS"
    NEW_LEADER = "NEW_LEADER"  # a pod is above the target, but a new leader takes no tile from anyone for one lease
    NO_EMERGENCY = "NO_EMERGENCY"  # asked for an emergency, and nothing is unowned or on a draining pod
    BALANCED = "BALANCED"  # no pod is above the target, and none below the floor
    WITHIN_HYSTERESIS = "WITHIN_HYSTERESIS"  # above the target, but no pod above the trigger
    BUDGET_EXHAUSTED = "BUDGET_EXHAUSTED"  # there is something to do, and nothing left to do it with this round
    COOLING_DOWN = "COOLING_DOWN"  # what would help are tiles that rest between two moves
    HANDOFFS_IN_FLIGHT = "HANDOFFS_IN_FLIGHT"  # what would help are tiles under way, with those that rest
    NOTHING_FITS = "NOTHING_FITS"  # no movable tile would make it better, or there is no room for it
