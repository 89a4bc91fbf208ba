"""Owns the search for the cheapest set of at most four tiles that covers a given load."""

from functools import cache
from typing import Literal

import numpy as np

from subgraph.domain.planning.columns import Flags, Loads, Positions

# There are two halves of this many tiles, and a set has at most two of each.
HALF = 16
OFFERS = 2 * HALF
# Sums are counted in needs, and what is larger than this counts as this.
SUM_MAX = 64.0
# Sums that differ by no more than this part of a need are the same.
ROUNDING = 1e-9


@cache
def _pairs() -> Positions:
    """Return the positions of all sets of at most two out of a half; position HALF stands for none."""
    return np.array([(i, j) for i in range(HALF) for j in range(i + 1, HALF + 1)] + [(HALF, HALF)])


def cheapest_cover(load: Loads, cost: Loads, need: Loads, over_max: Loads, spare: Loads) -> tuple[Flags, Flags]:
    """Return, row by row, which tiles to give (flags of the shape of `load`), and whether they cover the need.

    Each row has OFFERS tiles, with an infinite cost where there are fewer; a set costs what its tiles do. It may be
    over the need (above 0) by `over_max`; if there is none such, the cheapest of those is given that are over it least,
    but not by more than `spare`, nor by more than the lightest tile: then it is better to come closer from below first.
    Found by meeting in the middle: what a set of the one half lacks is looked up among the sorted sums of the other.
    Source: Horowitz, Sahni: Computing Partitions with Applications to the Knapsack Problem (J. ACM 1974).
    """
    rows, width = np.arange(need.size), len(_pairs())
    first_sums, first_costs = _sets(load[:, :HALF], cost[:, :HALF], need)
    sums, costs = _sets(load[:, HALF:], cost[:, HALF:], need)
    order = np.argsort(sums, axis=1)
    sums, costs = np.take_along_axis(sums, order, axis=1), np.take_along_axis(costs, order, axis=1)
    lacking = 1 - ROUNDING - first_sums
    starts = _places(sums, lacking, "left")
    over = first_sums - 1 + np.take_along_axis(np.column_stack((sums, np.full(need.size, np.inf))), starts, axis=1)
    over_least = np.where(np.isfinite(first_costs), over, np.inf).min(axis=1)
    lightest = np.where(np.isfinite(cost), load, np.inf).min(axis=1)
    over_most = np.minimum(over_max, spare) / need
    covers: Flags = over_least <= np.maximum(over_most, np.minimum(spare, lightest) / need) + ROUNDING
    ends = _places(sums, lacking + np.maximum(over_most, over_least)[:, None] + 2 * ROUNDING, "right")
    first = np.argmin(first_costs + _least_between(costs, starts, ends), axis=1)
    places = np.arange(width)
    window = (places >= starts[rows, first][:, None]) & (places < ends[rows, first][:, None])
    second = order[rows, np.argmin(np.where(window, costs, np.inf), axis=1)]
    given = np.zeros((need.size, 2, HALF + 1), np.bool_)
    for half, chosen in enumerate((first, second)):
        given[rows[:, None], half, _pairs()[chosen]] = True
    return given[:, :, :HALF].reshape(need.size, OFFERS) & covers[:, None], covers


def _sets(load: Loads, cost: Loads, need: Loads) -> tuple[Loads, Loads]:
    """Return load (in needs) and cost of all sets of at most two tiles of this half."""
    nothing = np.zeros((need.size, 1))
    loads, costs = np.hstack((load / need[:, None], nothing)), np.hstack((cost, nothing))
    one, other = _pairs().T
    set_cost = costs[:, one] + costs[:, other]
    set_load = np.where(np.isfinite(set_cost), loads[:, one] + loads[:, other], SUM_MAX)
    return np.minimum(set_load, SUM_MAX), set_cost


def _places(sums: Loads, wanted: Loads, side: Literal["left", "right"]) -> Positions:
    """Return, row by row, where the wanted sums would stand among these, which are sorted."""
    rows, width = sums.shape
    # All rows are searched at once: each is lifted above the one before.
    lift = 2 * SUM_MAX * np.arange(rows)[:, None]
    within = np.clip(wanted, -0.5 * SUM_MAX, 1.5 * SUM_MAX) + lift
    found = np.searchsorted((sums + lift).ravel(), within.ravel(), side=side)
    places: Positions = found.reshape(rows, -1) - width * np.arange(rows)[:, None]
    return places


def _least_between(cost: Loads, starts: Positions, ends: Positions) -> Loads:
    """Return, for each pair of places in a row, the least cost from one up to the other; infinite where none is.

    Source: the sparse table of Bender, Farach-Colton: The LCA Problem Revisited (LATIN 2000).
    """
    rows, width = cost.shape
    levels = [cost]
    while 2 ** len(levels) <= width:
        step = 2 ** (len(levels) - 1)
        level = levels[-1].copy()
        np.minimum(level[:, :-step], levels[-1][:, step:], out=level[:, :-step])
        levels.append(level)
    lengths = np.maximum(ends - starts, 0)
    height = np.frexp(np.maximum(lengths, 1))[1] - 1
    table, row = np.stack(levels), np.arange(rows)[:, None]
    left = table[height, row, np.minimum(starts, width - 1)]
    right = table[height, row, np.clip(ends - 2**height, 0, width - 1)]
    return np.where(lengths > 0, np.minimum(left, right), np.inf)
