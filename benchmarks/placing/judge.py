"""Owns how a contender's answer is judged: the peak, the churn, and the least churn that there could be."""

from dataclasses import dataclass

import numpy as np

from placing.fleet import UNOWNED, Fleet, Loads, Rows
from subgraph.domain.planning.policy import BalancePolicy


@dataclass(frozen=True, slots=True)
class Score:
    """What one round of one contender came to."""

    peak: float  # the highest utilization over the fair one
    churn: float  # load that changed pods, over all load; what had no owner is not counted
    bound: float  # the least churn that brings every pod to the target, from this contender's own assignment
    bound_of_tiles: float  # the same, by tiles that cannot be divided; equal to `bound` where loads are no integers
    bound_known: float  # the same as `bound`, knowing what lost pods leave behind and what new ones are to get
    moved_tiles: int
    cpu_ms: float


def judge(fleet: Fleet, after: Rows, policy: BalancePolicy, cpu_ms: float) -> Score:
    """Score an answer by our policy's target.

    Raises:
        RuntimeError: it breaks a hard constraint.
    """
    if np.any(after[fleet.fixed] != fleet.owner[fleet.fixed]) or np.any(after < 0) or not fleet.live[after].all():
        raise RuntimeError("an answer moves a pinned tile, or leaves one without a live pod")
    total = float(fleet.load.sum())
    moved = (fleet.owner != UNOWNED) & (after != fleet.owner)
    pod_load, share = fleet.pod_load(fleet.owner), fleet.fair_share
    excess = np.maximum(pod_load - policy.target * share, 0.0)
    excess[excess <= 1e-9 * share] = 0.0
    utilization = (fleet.pod_load(after) / fleet.capacity)[fleet.live]
    known = max(float(excess.sum()) + _pushed(fleet, pod_load, policy), _filled(pod_load, share, policy))
    return Score(
        peak=float(utilization.max()) / fleet.level,
        churn=float(fleet.load[moved].sum()) / total,
        bound=float(excess.sum()) / total,
        bound_of_tiles=_bound_of_tiles(fleet, excess) / total,
        bound_known=known / total,
        moved_tiles=int(moved.sum()),
        cpu_ms=cpu_ms,
    )


def _pushed(fleet: Fleet, pod_load: Loads, policy: BalancePolicy) -> float:
    """Return what at least must make way for tiles without an owner, besides the excess that there is.

    However they are placed, the n heaviest are on n pods at most: what is beyond the room of the n roomiest must go.
    """
    room = np.sort(np.maximum(policy.target * fleet.fair_share - pod_load, 0.0)[fleet.live])[::-1]
    load = np.sort(fleet.load[fleet.owner == UNOWNED])[::-1]
    if not load.size:
        return 0.0
    count = min(load.size, room.size)
    beyond = np.cumsum(load[:count]) - np.cumsum(room[:count])
    return max(0.0, float(beyond.max()), float(load.sum() - room.sum()))


def _filled(pod_load: Loads, share: Loads, policy: BalancePolicy) -> float:
    """Return what pods below the floor are to get in a round."""
    cold = pod_load < policy.floor * share
    gets = np.minimum(policy.fill * share - pod_load, policy.pod_filled_ratio_max * share)
    return float(gets[cold].sum())


def _bound_of_tiles(fleet: Fleet, excess: Loads) -> float:
    """Return the sum, over the hot pods, of the lightest set of its tiles that covers the excess."""
    if not np.array_equal(fleet.load, np.floor(fleet.load)):
        return float(excess.sum())
    bound = 0.0
    for pod in np.flatnonzero(excess).tolist():
        sums = 1  # bit s is set if some set of tiles weighs s
        for load in fleet.load[fleet.owner == pod].astype(np.int64).tolist():
            sums |= sums << load
        least = int(np.ceil(excess[pod] - 1e-9))
        reachable = sums >> least
        bound += least + (reachable & -reachable).bit_length() - 1
    return bound
