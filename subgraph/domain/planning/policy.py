"""Owns the planner's policy: targets, thresholds, hysteresis and budgets."""

import math
from dataclasses import dataclass, replace

from subgraph.domain.planning.allowance import Allowance


@dataclass(frozen=True, slots=True)
class BalancePolicy:
    """The knobs of the planner. Ratios named `trigger` and `target` are utilization over the fleet's fair utilization.

    A round starts only above `trigger` and then goes down to `target`; the gap between them keeps it from chattering.
    So it is with `floor` and `fill`: a pod below the one gets what brings it to the other, as does a pod that joined.
    Counts of moves are the larger of a fixed number and a share of all tiles, so one default serves every fleet size.

    A budget is there for what is out of the ordinary: one that binds on an ordinary morning leaves pods hot. The
    steepest minute of a real day of flights, in tiles that an aircraft crosses in a minute, moves 9 % of the load where
    pods hold hundreds of aircraft, and more where they hold few; the numbers of moves bind first in large fleets.

    Where neighbours are known, `locality_ratio` is what it may cost to keep them together: the load that balancing
    moves beyond the least it has to. More of it cuts fewer edges; at 0 neighbours do not matter, and after some hundred
    rounds of drifting loads as many edges are cut as if tiles were placed at random.
    """

    trigger: float = 1.07
    target: float = 1.05
    floor: float = 0.80
    fill: float = 0.95
    gain_ratio_min: float = 0.001  # of the fair utilization: what relieving a pod must gain to be worth a handoff
    locality_ratio: float = 0.06  # of what a hot pod has to give, on average: the load it may give beyond, see above
    load_moved_ratio_max: float = 0.25  # of the total load, a round
    moves_max: int = 1_000  # a round
    moves_ratio_max: float = 0.02  # of all tiles, a round
    pod_given_ratio_max: float = 1.0  # of its fair share: the load that one pod gives in a round of balancing
    pod_taken_ratio_max: float = 0.5  # of its fair share: the load that it takes
    pod_filled_ratio_max: float = 0.25  # the same, where it is taken for being below the floor, or has no tile yet
    pod_tiles_moved_max: int = 100  # that one pod gives in a round, and as many that it takes
    pod_tiles_moved_ratio_max: float = 0.10  # of its fair number of tiles
    evacuation_load_ratio_max: float = 0.10
    evacuation_moves_max: int = 1_000
    evacuation_moves_ratio_max: float = 0.02
    repair_load_ratio_max: float = 0.10
    repair_moves_max: int = 1_000
    repair_moves_ratio_max: float = 0.02
    in_flight_max: int = 2_000  # handoffs under way at any time; placing unowned tiles does not wait for it
    in_flight_ratio_max: float = 0.04
    emergency: bool = False  # only what has no owner or drains is moved, all at once whatever it costs
    paused: bool = False  # what has no owner is placed still; draining, repairing and balancing rest
    capacity_hard: bool = False  # whether a tile waits without an owner rather than take a pod beyond its capacity

    def __post_init__(self) -> None:
        if not 1.0 <= self.target <= self.trigger:
            raise ValueError("1 <= target <= trigger must hold")
        if not 0.0 <= self.floor <= self.fill <= 1.0:
            raise ValueError("0 <= floor <= fill <= 1 must hold")
        ratios = [self.load_moved_ratio_max, self.evacuation_load_ratio_max, self.moves_ratio_max]
        ratios += [self.repair_load_ratio_max, self.repair_moves_ratio_max, self.pod_tiles_moved_ratio_max]
        ratios += [self.pod_given_ratio_max, self.pod_taken_ratio_max, self.pod_filled_ratio_max]
        ratios += [self.evacuation_moves_ratio_max, self.in_flight_ratio_max, self.gain_ratio_min, self.locality_ratio]
        if min(ratios) < 0:
            raise ValueError("a ratio cannot be negative")
        counts = [self.moves_max, self.evacuation_moves_max, self.repair_moves_max, self.in_flight_max]
        if min(*counts, self.pod_tiles_moved_max) < 0:
            raise ValueError("a number of moves cannot be negative")

    def without_hysteresis(self) -> "BalancePolicy":
        """Return the policy of somebody who asks: all that is above the target or below the fill is evened out."""
        return replace(self, trigger=self.target, floor=self.fill)

    def without_balancing(self) -> "BalancePolicy":
        """Return the policy under which no pod is ever too hot or too cold."""
        return replace(self, trigger=math.inf, floor=0.0)

    def balance_allowance(self, tiles: int, load_total: float, in_flight: int) -> Allowance:
        """Return what balancing may move in a round while `in_flight` handoffs are under way."""
        moves = max(self.moves_max, int(self.moves_ratio_max * tiles))
        load = _share(self.load_moved_ratio_max, load_total)
        return Allowance(load=load, moves=min(moves, self._in_flight_left(tiles, in_flight)))

    def evacuation_allowance(self, tiles: int, load_total: float, in_flight: int) -> Allowance:
        """Return what draining pods may give away in a round while `in_flight` handoffs are under way."""
        if self.emergency:
            return Allowance(load=math.inf, moves=tiles)
        moves = max(self.evacuation_moves_max, int(self.evacuation_moves_ratio_max * tiles))
        load = _share(self.evacuation_load_ratio_max, load_total)
        return Allowance(load=load, moves=min(moves, self._in_flight_left(tiles, in_flight)))

    def repair_allowance(self, tiles: int, load_total: float, in_flight: int) -> Allowance:
        """Return what may move in a round because a rule wants it elsewhere."""
        moves = max(self.repair_moves_max, int(self.repair_moves_ratio_max * tiles))
        load = _share(self.repair_load_ratio_max, load_total)
        return Allowance(load=load, moves=min(moves, self._in_flight_left(tiles, in_flight)))

    def _in_flight_left(self, tiles: int, in_flight: int) -> int:
        return max(0, max(self.in_flight_max, int(self.in_flight_ratio_max * tiles)) - in_flight)


def _share(ratio: float, load_total: float) -> float:
    # A fleet without any load has idle tiles to evacuate still: only the number of moves bounds them then.
    return ratio * load_total if load_total > 0 or ratio == 0 else math.inf
