"""Owns the remainder of a budget of load and of moves."""

from dataclasses import dataclass

import numpy as np

from subgraph.domain.planning.columns import Loads


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of a round's budget.

    While it is untouched, it admits one move that is heavier than the whole of it: otherwise a tile that outweighs the
    budget of a small fleet could never move at all.
    """

    load: float
    moves: int
    touched: bool = False

    @property
    def empty(self) -> bool:
        """Whether nothing may move any more."""
        return self.moves <= 0 or self.load <= 0

    def admits(self, loads: Loads) -> int:
        """Return how many of these moves, taken in this order, may go."""
        if self.empty or not loads.size:
            return 0
        within = int(np.searchsorted(np.cumsum(loads), self.load * (1 + 1e-12), side="right"))
        return min(self.moves, max(within, 0 if self.touched else 1))

    def admits_together(self, load: float, moves: int) -> bool:
        """Return whether that many moves may go as one: an exchange is both of its legs or nothing."""
        return not self.empty and moves <= self.moves and (load <= self.load or not self.touched)

    def less(self, load: float, moves: int) -> "Allowance":
        """Return what is left after these moves."""
        return Allowance(load=max(0.0, self.load - load), moves=self.moves - moves, touched=self.touched or moves > 0)
