"""Owns the comparison with the rivals: every contender under every workload, and who is better in both respects."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from placing.figures import print_table
from placing.fleet import UNOWNED, Contender, Fleet, Rows
from placing.greedy import dicer, exponential_potential, slicer
from placing.hashing import bounded_load_hashing, consistent_hashing
from placing.judge import Score, judge
from placing.ours import POLICY, ours, ours_in_cycles
from placing.scratch import largest_first, metis
from placing.workloads import Workload

OURS, IN_CYCLES = "ours", "ours, 10 cycles a round"
CONTENDERS: Mapping[str, Contender] = {
    OURS: ours,
    IN_CYCLES: ours_in_cycles,
    "exponential potential": exponential_potential,
    "Slicer's weighted move": slicer,
    "Dicer's rule": dicer,
    "bounded-load hashing": bounded_load_hashing,
    "consistent hashing": consistent_hashing,
    "largest first": largest_first,
    "METIS from scratch": metis,
}
IMPROVERS = {OURS, IN_CYCLES, "exponential potential", "Slicer's weighted move", "Dicer's rule"}
"""Those that improve what is there: they begin with what largest first makes of round 0, the others with their own."""

RIVALS = [name for name in CONTENDERS if not name.startswith(OURS)]
IDLE_RATIO = 0.1
RELATIVE_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Run:
    """One contender under one workload: the scores of its rounds, and the edges cut at the end."""

    scores: Sequence[Score]
    edges_cut: int

    @property
    def peak_median(self) -> float:
        """The median of the highest utilization over the mean."""
        return statistics.median(score.peak for score in self.scores)

    @property
    def peak_worst(self) -> float:
        """The highest of the highest."""
        return max(score.peak for score in self.scores)

    @property
    def churn(self) -> float:
        """The load moved a round, over all load."""
        return statistics.fmean(score.churn for score in self.scores)

    @property
    def cpu_median_ms(self) -> float:
        """The median processor time of a plan."""
        return statistics.median(score.cpu_ms for score in self.scores)

    def churn_over(self, bound_of: Callable[[Score], float]) -> float:
        """The load moved over a lower bound, both summed over the rounds that moved any; infinite where none had to.

        Rounds at rest are left out: a bound that was not used would hide what another round moved too much.
        """
        moving = [score for score in self.scores if score.churn > 0]
        bound = sum(bound_of(score) for score in moving)
        churn = sum(score.churn for score in moving)
        return churn / bound if bound else (np.inf if churn else 1.0)

    def is_beaten_by(self, other: "Run") -> bool:
        """Whether another is lower in both, the maximum (its median, or its worst) and the churn."""
        less_churn = other.churn < self.churn * (1 - RELATIVE_TOLERANCE)
        lower_median = other.peak_median < self.peak_median * (1 - RELATIVE_TOLERANCE)
        lower_worst = other.peak_worst < self.peak_worst * (1 - RELATIVE_TOLERANCE)
        return less_churn and (lower_median or lower_worst)


def run(workload: Workload, name: str) -> Run:
    """Put one contender through a workload; each lives with its own decisions."""
    contender = CONTENDERS[name]
    live = workload.live.copy()
    nobody = np.full(workload.cells.size, UNOWNED, np.int32)
    start = Fleet(workload.cells, workload.loads[0], nobody, ~workload.pinned, workload.capacity, live, workload.graph)
    owner = _settled(start)
    if name not in IMPROVERS:
        owner = contender(start)
    scores = []
    for number in range(1, workload.rounds):
        if event := workload.events.get(number):
            live = live.copy()
            live[event.killed], live[event.added] = False, True
            owner = np.where(live[owner], owner, UNOWNED).astype(np.int32)
        loads = workload.loads[number]
        fleet = Fleet(workload.cells, loads, owner, ~workload.pinned, workload.capacity, live, workload.graph)
        began = time.thread_time()
        after: Rows = contender(fleet)
        cpu_ms = (time.thread_time() - began) * 1_000
        scores.append(judge(fleet, after, POLICY, cpu_ms))
        owner = after
    return Run(scores, workload.graph.edges_cut(owner))


def compare(workload: Workload) -> dict[str, Run]:
    """Run all contenders under a workload, and print them."""
    runs = {name: run(workload, name) for name in CONTENDERS}
    print(f"\n{workload.name}: {workload.cells.size:,} tiles, {workload.rounds - 1} rounds")
    heads = (
        "contender",
        "max/mean",
        "worst",
        "churn %",
        "worst %",
        "÷ bound",
        "÷ of tiles",
        "÷ known",
        "moves",
        "edges cut",
        "cpu ms",
    )
    print_table(heads, [_line(name, result) for name, result in runs.items()])
    return runs


def print_summary(results: Mapping[str, Mapping[str, Run]]) -> None:
    """Print one table of all workloads and contenders: median maximum over the mean, and load moved a round."""
    names = [OURS, *RIVALS]
    print("\nMedian of max/mean · load moved a round, % of all")
    print_table(
        ("workload", *names),
        [
            (workload, *(f"{runs[name].peak_median:.3f} · {runs[name].churn * 100:.2f}" for name in names))
            for workload, runs in results.items()
        ],
    )


def _settled(start: Fleet) -> Rows:
    """Return where the improvers start: largest first, every tile a little heavier so that idle ones spread too."""
    return largest_first(replace(start, load=start.load + IDLE_RATIO * start.load.mean()))


def _line(name: str, result: Run) -> tuple[str, ...]:
    return (
        name,
        f"{result.peak_median:.3f}",
        f"{result.peak_worst:.3f}",
        f"{result.churn:.3%}"[:-1],
        f"{max(score.churn for score in result.scores):.2%}"[:-1],
        f"{result.churn_over(lambda score: score.bound):.3f}",
        f"{result.churn_over(lambda score: score.bound_of_tiles):.3f}",
        f"{result.churn_over(lambda score: score.bound_known):.3f}",
        f"{statistics.median(score.moved_tiles for score in result.scores):,.0f}",
        f"{result.edges_cut:,}",
        f"{result.cpu_median_ms:,.1f}",
    )
