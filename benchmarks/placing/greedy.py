"""Owns the rivals that improve what is there, a move at a time, each by its own rule of what a good move is."""

import numpy as np

from placing.book import Book
from placing.fleet import Fleet, Loads, Rows

SLICER_CHURN_MAX = 0.09
DICER_TOLERANCE = 0.10
DICER_CHURN_PENALTY = 0.25
DICER_OVERSHOOT, DICER_UNDERSHOOT = 16.0, 4.0
EXPONENT = 50.0
EXPONENTIAL_STOP = 1.02
COLD_PODS = 4
"""How many of the coldest pods a rule that looks for the best receiver is shown; one is enough where all are equal."""


def slicer(fleet: Fleet) -> Rows:
    """Move from the hottest pod to the coldest what lowers the hotter of them most for the key space it moves.

    Source: Adya et al.: Slicer, Auto-Sharding for Datacenter Applications (OSDI 2016), section 4.4, the weighted move:
    the move with the most gain in imbalance for its churn, until 9 % of the key space has moved or nothing gains. A
    tile is one part in T of the key space; splits, merges and replicas are left out.
    """
    book = Book(fleet)
    for _ in range(int(SLICER_CHURN_MAX * fleet.load.size)):
        hot, cold = book.hottest(), book.coldest()
        if hot is None:
            break
        tiles = book.movable(hot)
        loads = fleet.load[tiles]
        after = np.maximum((book.load[hot] - loads) / book.share[hot], (book.load[cold] + loads) / book.share[cold])
        gain = book.utilization(hot) - after
        if not tiles.size or gain.max() <= 1e-9:
            break
        book.move(int(tiles[np.argmax(gain)]), cold)
    return book.owner


def dicer(fleet: Fleet) -> Rows:
    """Lower a sum of penalties, the hottest pod first: for leaving the desired range, and for every tile moved.

    Source: databricks/dicer, the placement phase of its assigner: 16 × the overshoot, times the square of the load over
    the most desired; 4 × the undershoot, times the square of one plus its share of the least desired; a quarter of the
    load of every tile that leaves its place; a pod for which no move lowers the sum is set aside. Desired is the mean
    ± 10 %. Replicas are left out; penalties are a pod's fair share large, so that capacities may differ. Of equal pods
    the coldest is always the best receiver (the penalty is convex), so only a few of the coldest are looked at.
    """
    book = Book(fleet)
    while (hot := book.hottest()) is not None:
        tiles = book.movable(hot)
        loads = fleet.load[tiles]
        churn = DICER_CHURN_PENALTY * np.where(fleet.owner[tiles] == hot, loads, 0.0)
        best, choice = -1e-10, None
        # A pod must not be left empty, and a receiver is never the hottest itself.
        for cold in book.coldest_few(COLD_PODS) if len(book.tiles[hot]) > 1 and tiles.size else []:
            if cold == hot:
                continue
            change = _penalty(book.load[hot] - loads, book.share[hot]) + _penalty(
                book.load[cold] + loads, book.share[cold]
            )
            here = np.array([book.load[hot]]), np.array([book.load[cold]])
            change += churn - float(_penalty(here[0], book.share[hot])[0] + _penalty(here[1], book.share[cold])[0])
            least = int(np.argmin(change))
            if change[least] < best:
                best, choice = float(change[least]), (int(tiles[least]), cold)
        if choice is None:
            book.set_aside(hot)
        else:
            book.move(*choice)
    return book.owner


def exponential_potential(fleet: Fleet) -> Rows:
    """Lower Σ exp(50 × utilization) by the move off the hottest pod that lowers it most for the load it moves.

    Source: the idea of a potential that is steep in the load, as proposed for ScyllaDB's tablet balancer: one function
    that prefers relieving the hottest to anything else, so that a plain descent balances. The steepness, and the level
    at which it rests (1.02 × the mean), are ours.
    """
    book = Book(fleet)
    while (hot := book.hottest()) is not None and book.utilization(hot) > EXPONENTIAL_STOP:
        tiles = book.movable(hot)
        loads = fleet.load[tiles]
        best, choice = 1e-12, None
        for cold in book.coldest_few(COLD_PODS) if tiles.size else []:
            if cold == hot:
                continue
            # Relative to the hottest pod's own term, so that nothing overflows.
            offset = book.utilization(hot)
            drop = 1.0 + np.exp(EXPONENT * (book.utilization(cold) - offset))
            drop = drop - np.exp(-EXPONENT * loads / book.share[hot])
            drop -= np.exp(np.minimum(EXPONENT * ((book.load[cold] + loads) / book.share[cold] - offset), 700.0))
            worth = drop / loads
            most = int(np.argmax(worth))
            if worth[most] * book.share[hot] > best:
                best, choice = float(worth[most] * book.share[hot]), (int(tiles[most]), cold)
        if choice is None:
            book.set_aside(hot)
        else:
            book.move(*choice)
    return book.owner


def _penalty(load: Loads, share: float) -> Loads:
    least, most = (1 - DICER_TOLERANCE) * share, (1 + DICER_TOLERANCE) * share
    over, under = np.maximum(load - most, 0.0), np.maximum(least - load, 0.0)
    penalty: Loads = DICER_OVERSHOOT * (load / most) ** 2 * over + DICER_UNDERSHOOT * (1 + under / least) ** 2 * under
    return penalty
