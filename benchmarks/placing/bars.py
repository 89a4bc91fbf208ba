"""Owns the bars that our run of a workload is held against."""

from collections.abc import Mapping

from placing.figures import Verdict
from placing.frontier import IN_CYCLES, OURS, RELATIVE_TOLERANCE, RIVALS, Run
from placing.ours import POLICY
from placing.workloads import Workload

CHURN_MAX = 1.05


def verdicts(workload: Workload, runs: Mapping[str, Run]) -> list[Verdict]:
    """Hold our run against the bars: one plan for each round of load. Where cycles make a difference, it is told."""
    found = [
        (_churn(workload, mine), _peak(mine, runs["largest first"]), _frontier(mine, runs))
        for mine in (runs[OURS], runs[IN_CYCLES])
    ]
    bars = ("churn ≤ 1.05 × bound", "max ≤ target where sizes allow", "on the frontier")
    return [
        Verdict(f"{workload.name}: {bar}", holds, words + (f"; in cycles {in_cycles}" if in_cycles != words else ""))
        for bar, (holds, words), (_, in_cycles) in zip(bars, *found, strict=True)
    ]


def _churn(workload: Workload, mine: Run) -> tuple[bool, str]:
    ratio, of_tiles, known = (
        mine.churn_over(bound)
        for bound in (lambda one: one.bound, lambda one: one.bound_of_tiles, lambda one: one.bound_known)
    )
    words = f"{ratio:.3f}"
    if abs(ratio - of_tiles) > RELATIVE_TOLERANCE:
        words += f" ({of_tiles:.3f} × what indivisible tiles allow)"
    if workload.events:
        words += f" ({known:.3f} × a bound that knows what lost pods leave behind and new ones need)"
    return ratio <= CHURN_MAX, words


def _peak(mine: Run, scratch: Run) -> tuple[bool, str]:
    above = resting = 0
    for score, best in zip(mine.scores, scratch.scores, strict=True):
        # Where even a new start, largest first, does not come down to the target, its level is what sizes allow.
        if score.peak > max(POLICY.target, best.peak) * (1 + RELATIVE_TOLERANCE):
            rests = score.moved_tiles == 0 and score.peak <= POLICY.trigger * (1 + RELATIVE_TOLERANCE)
            above, resting = above + (not rests), resting + rests
    words = f"{above} of {len(mine.scores)} rounds above"
    return above == 0, words + (f", {resting} at rest below the trigger" if resting else "")


def _frontier(mine: Run, runs: Mapping[str, Run]) -> tuple[bool, str]:
    beaten_by = [name for name in RIVALS if mine.is_beaten_by(runs[name])]
    return not beaten_by, ", ".join(beaten_by) or "nobody is lower in both"
