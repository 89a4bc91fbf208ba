"""Owns the states of a beam search: assignments of a few tiles to a few pods, one per row."""

from dataclasses import dataclass

import numpy as np

from subgraph.domain.planning.allowance import Allowance
from subgraph.domain.planning.budget import Budget
from subgraph.domain.planning.columns import Counts, Flags, Loads, Rows
from subgraph.domain.planning.standing import TOLERANCE


@dataclass(frozen=True, slots=True, eq=False)
class Ways:
    """Ways to deal out the tiles looked at so far, one a row; the tiles after those are still at home."""

    load: Loads  # pod by pod, without the tiles still at home
    churn: Loads
    moves: Counts
    pods: Rows  # tile by tile

    def only(self, rows: "Rows | Flags | Counts") -> "Ways":
        """Return the ways at these rows."""
        return Ways(self.load[rows], self.churn[rows], self.moves[rows], self.pods[rows])


def branched(ways: Ways, choice: Rows, home: int, load: float) -> Ways:
    """Return every way with the tile on every pod of the choice."""
    count = ways.churn.size
    rows, chosen = np.repeat(np.arange(count), choice.size), np.tile(choice, count)
    stays = chosen == home
    pod_load = ways.load[rows]
    pod_load[np.arange(rows.size), chosen] += load
    return Ways(
        pod_load,
        ways.churn[rows] + np.where(stays, 0.0, load),
        ways.moves[rows] + ~stays,
        np.column_stack((ways.pods[rows], chosen)),
    )


def admitted(ways: Ways, allowance: Allowance) -> Flags:
    """Return which ways the budget of the round admits."""
    within = ways.churn <= allowance.load * (1 + TOLERANCE)
    may: Flags = (within & (ways.moves <= allowance.moves)) | (ways.moves == 0)
    return may


def within_limits(ways: Ways, loads: Loads, home: Rows, now: Rows, pods: Rows, left: Budget) -> Flags:
    """Return which ways let every pod give and take no more than it may, or than the round lets it as it is."""

    def exchanged(places: Rows) -> tuple[Loads, Counts, Loads, Counts]:
        away = (places != home)[:, :, None]
        leaves, comes = ((rows[..., None] == np.arange(pods.size)) & away for rows in (home, places))
        return loads @ leaves, leaves.sum(axis=1), loads @ comes, comes.sum(axis=1)

    given, gives, taken, takes = exchanged(ways.pods)
    given_now, gives_now, taken_now, takes_now = exchanged(now[None, :])
    give_max = np.where(gives <= 1, left.heaviest_given(pods), left.give_load[pods] * (1 + TOLERANCE))
    take_max = np.where(takes <= 1, left.heaviest_taken(pods), left.take_load[pods] * (1 + TOLERANCE))
    within = (given <= np.maximum(give_max, given_now)) & (gives <= np.maximum(left.give_tiles[pods], gives_now))
    within &= (taken <= np.maximum(take_max, taken_now)) & (takes <= np.maximum(left.take_tiles[pods], takes_now))
    all_within: Flags = np.all(within | (gives + takes == 0), axis=1)
    return all_within
