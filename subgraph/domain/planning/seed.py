"""Owns the initial placement of tiles whose neighbours are known: whole regions go to one pod."""

from dataclasses import replace

import numpy as np

from subgraph.domain.planning.absorb import absorb
from subgraph.domain.planning.budget import Budget
from subgraph.domain.planning.columns import UNOWNED, Loads, Rows
from subgraph.domain.planning.deal import deal
from subgraph.domain.planning.policy import BalancePolicy
from subgraph.domain.planning.regions import regions
from subgraph.domain.planning.segments import turns
from subgraph.domain.planning.shed import Candidates
from subgraph.domain.planning.standing import TOLERANCE, Moves, Standing
from subgraph.domain.planning.transfer import transfer
from subgraph.domain.planning.water import water_level

# A tile heavier than this part of what pods want on average is dealt before there are regions: it may fit only where
# most room is.
HEAVY_RATIO = 0.5
# In the weights of regions a tile counts for this much of an average tile's load on top of its own: where most tiles
# are idle no pod gets nearly all of them.
OVERHEAD_RATIO = 0.05


def seed(tiles: Rows, standing: Standing, policy: BalancePolicy) -> Rows:
    """Return a receiving pod for each of these tiles, UNOWNED where every pod is full.

    First the heavy ones are dealt; then pods take what lies beside their tiles, as far as they have room; what is left
    is cut into regions, as large as the room of the pods that have most of it; at last, what makes a pod too hot goes
    to pods beside it. Only hard constraints bind: a tile without an owner is worse than a pod above the target.
    """
    if not tiles.size or not np.any(standing.pod_slots > 0):
        return np.full(tiles.size, UNOWNED, np.int32)
    nobody = standing.tile_pod.copy()
    nobody[tiles] = UNOWNED
    now = replace(standing, tile_pod=nobody, tile_movable=np.zeros_like(standing.tile_movable))
    # In the middle between the fair share and the target: the load of what is placed here will not stay as it is.
    up_to = (1 + policy.target) / 2 * standing.fair_share
    left = tiles
    for step in (_heavy, _beside, _in_regions, _dealt):
        now = now.after(step(left, now, up_to, policy))
        left = left[now.tile_pod[left] == UNOWNED]
    placed = np.zeros_like(standing.tile_movable)
    placed[tiles] = now.tile_pod[tiles] != UNOWNED
    level = _levelled(replace(now, tile_movable=placed), up_to, policy)
    return now.after(level).tile_pod[tiles]


def _heavy(tiles: Rows, now: Standing, up_to: Loads, policy: BalancePolicy) -> Moves:
    _, wants = _wanting(tiles, now)
    heavy = tiles[now.tile_load[tiles] > HEAVY_RATIO * wants.mean()] if wants.size else tiles[:0]
    return _dealt(heavy, now, up_to, policy)


def _beside(tiles: Rows, now: Standing, up_to: Loads, policy: BalancePolicy) -> Moves:
    if not np.any(now.tile_pod != UNOWNED):
        return Moves.none()
    return absorb(tiles, now, np.where(now.pod_slots > 0, up_to, 0.0), policy.target)


def _in_regions(tiles: Rows, now: Standing, up_to: Loads, policy: BalancePolicy) -> Moves:
    assert now.neighbors is not None
    pods, wants = _wanting(tiles, now)
    if not pods.size or not tiles.size:
        return Moves.none()
    weights = now.tile_load[tiles] + _overhead(now)
    targets = pods[regions(weights, wants, now.neighbors.among(tiles))]
    # Where slots are short, a pod keeps the first tiles of its region.
    order = np.argsort(targets, kind="stable")
    fits = order[turns(targets[order]) < now.pod_slots[targets[order]]]
    return Moves(tiles[fits], targets[fits])


def _dealt(tiles: Rows, now: Standing, up_to: Loads, policy: BalancePolicy) -> Moves:
    targets = deal(now.tile_load[tiles], now)
    placed = targets != UNOWNED
    return Moves(tiles[placed], targets[placed])


def _levelled(now: Standing, up_to: Loads, policy: BalancePolicy) -> Moves:
    hot = (now.pod_load > up_to * (1 + TOLERANCE)) & ~now.pod_evacuates
    down_to = np.where(hot, up_to, np.inf)
    receives = np.where((now.pod_slots > 0) & ~hot, up_to, 0.0)
    return transfer(now, Candidates.of(now, hot), down_to, receives, policy, Budget.unlimited(now))[0]


def _wanting(tiles: Rows, now: Standing) -> tuple[Rows, Loads]:
    """Return the pods with most room, as few as have enough for these tiles, and the weight that each can take."""
    pods = np.flatnonzero(now.pod_slots > 0).astype(np.int32)
    if not pods.size:
        return pods, np.empty(0)
    overhead, capacity = _overhead(now), now.pod_capacity[pods]
    has = now.pod_load[pods] + overhead * now.pod_tiles[pods]
    amount = float((now.tile_load[tiles] + overhead).sum())
    level = max(now.level * (1 + OVERHEAD_RATIO), water_level(has, capacity, amount))
    wants = level * capacity - has
    order = np.argsort(-wants, kind="stable")
    enough = int(np.searchsorted(np.cumsum(np.maximum(wants[order], 0.0)), amount * (1 - TOLERANCE))) + 1
    chosen = np.sort(order[:enough])
    chosen = chosen[wants[chosen] > 0]
    return pods[chosen], wants[chosen]


def _overhead(now: Standing) -> float:
    mean = float(now.tile_load.mean())
    return OVERHEAD_RATIO * mean if mean > 0 else 1.0
