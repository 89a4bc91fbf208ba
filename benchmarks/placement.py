"""Owns the placement figures: our planner's balance, churn, time and memory next to those of its rivals.

Run it as `python benchmarks/placement.py`; README.md beside this file says what is measured, and how.
"""

import argparse
import os
import time

from placing.bars import verdicts
from placing.figures import Verdict, machine_line, print_verdicts
from placing.flight_day import flight_day
from placing.frontier import Run, compare, print_summary
from placing.joining import compare_joining
from placing.locality import compare_locality
from placing.plots import plot_frontier, plot_scaling
from placing.scaling import Size, compare_sizes
from placing.small_cases import compare_small_cases
from placing.stability import compare_stability
from placing.workloads import synthetic

PARTS = ("rivals", "scaling", "stability", "joining", "small", "locality")
RESOLUTIONS = (3, 4, 5)
MORNING_MINUTE, MORNING_MINUTES = 6 * 60, 181
DAY_MINUTES = 24 * 60


def compare_rivals(*, full: bool) -> tuple[dict[str, dict[str, Run]], dict[str, int], list[Verdict]]:
    """Run every contender under every workload."""
    first, minutes = (0, DAY_MINUTES) if full else (MORNING_MINUTE, MORNING_MINUTES)
    results, tiles_of, found = {}, {}, []
    for workload in [*synthetic(full=full), *flight_day(RESOLUTIONS, first, minutes)]:
        runs = compare(workload)
        results[workload.name], tiles_of[workload.name] = runs, workload.cells.size
        found += verdicts(workload, runs)
    print_summary(results)
    return results, tiles_of, found


def benchmark(parts: set[str], *, full: bool, plots: bool) -> None:
    """Measure, print, draw."""
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    began = time.monotonic()
    print(machine_line(core), flush=True)
    found: list[Verdict] = []
    results: dict[str, dict[str, Run]] = {}
    tiles_of: dict[str, int] = {}
    sizes: list[Size] = []
    if "rivals" in parts:
        results, tiles_of, rival_verdicts = compare_rivals(full=full)
        found += rival_verdicts
    if "scaling" in parts:
        sizes, size_verdicts = compare_sizes(full=full)
        found += size_verdicts
    if "stability" in parts:
        found += compare_stability(full=full)
    if "joining" in parts:
        found += compare_joining()
    if "small" in parts:
        found += compare_small_cases()
    if "locality" in parts:
        found += compare_locality()
    print_verdicts(found)
    if plots and results and sizes:
        plot_frontier(results)
        plot_scaling(sizes, {name: runs for name, runs in results.items() if name.endswith("drift")}, tiles_of)
    print(f"\ntook {time.monotonic() - began:.0f} s")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="the whole flight day, and more rounds of everything")
    parser.add_argument("--plots", action="store_true", help="draw docs/placement-*.svg anew; needs rivals and scaling")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="only these (default: all)")
    args = parser.parse_args()
    benchmark(set(args.parts), full=args.full, plots=args.plots)


if __name__ == "__main__":
    main()
