"""Owns the two plots: maximum against churn for every contender, and time against size."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from placing.frontier import OURS, RIVALS, Run
from placing.scaling import BARS_MS, Size

DOCS = Path(__file__).parents[2] / "docs"
FRONTIER = DOCS / "placement-frontier.svg"
SCALING = DOCS / "placement-scaling.svg"
CHURN_LEAST = 0.004
"""Where a churn of zero is drawn, in percent: a logarithmic axis has no place for it."""

INK, QUIET, GRID = "#1b1b1b", "#6b6b6b", "#e6e6e6"
MARKS: Mapping[str, tuple[str, str]] = {
    OURS: ("#c2185b", "*"),
    "exponential potential": ("#00796b", "o"),
    "Slicer's weighted move": ("#1565c0", "s"),
    "Dicer's rule": ("#ef6c00", "D"),
    "bounded-load hashing": ("#6a1b9a", "^"),
    "consistent hashing": ("#455a64", "v"),
    "largest first": ("#795548", "P"),
    "METIS from scratch": ("#9e9d24", "X"),
}
FIXED: Any = {"svg.hashsalt": "placement", "font.family": "DejaVu Sans", "font.size": 9, "svg.fonttype": "none"}


def plot_frontier(results: Mapping[str, Mapping[str, Run]]) -> None:
    """Draw a panel for each workload: a mark for the median of each contender, a line up to its worst round."""
    columns = 4
    rows = -(-len(results) // columns)
    with mpl.rc_context(FIXED):
        figure = Figure(figsize=(12.5, 2.75 * rows + 1.1), layout="constrained")
        panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for panel, (name, runs) in zip(panels.flat, results.items(), strict=False):
            panel.set_title(name, fontsize=9, color=INK, loc="left")
            panel.set_xscale("log")
            panel.set_yscale("log")
            panel.grid(color=GRID, linewidth=0.7)
            panel.set_axisbelow(True)
            panel.axhline(0.05, color=QUIET, linewidth=0.8, linestyle=(0, (4, 3)))
            for contender, (colour, mark) in MARKS.items():
                run = runs[contender]
                x = max(run.churn * 100, CHURN_LEAST)
                low, high = (max(value - 1, 0.0005) for value in (run.peak_median, run.peak_worst))
                panel.plot([x, x], [low, high], color=colour, linewidth=0.9, alpha=0.55)
                panel.plot(
                    x, low, mark, color=colour, markersize=13 if contender == OURS else 6, markeredgecolor="white"
                )
            panel.set_xlim(CHURN_LEAST / 1.6, 160)
            panel.set_ylim(0.0004, 3)
            panel.set_xticks([CHURN_LEAST, 0.01, 0.1, 1, 10, 100], ["0", "0.01", "0.1", "1", "10", "100"])
            panel.set_yticks([0.0005, 0.001, 0.01, 0.05, 0.1, 1], ["0", "0.1", "1", "5", "10", "100"])
            panel.minorticks_off()
            for side in ("top", "right"):
                panel.spines[side].set_visible(False)
        for panel in panels.flat[len(results) :]:
            panel.set_axis_off()
        figure.supxlabel("load moved a round, % of all load", color=INK)
        figure.supylabel("maximum above the mean, %", color=INK)
        handles = [
            Line2D([], [], color=colour, marker=mark, linestyle="", markersize=11 if name == OURS else 6, label=name)
            for name, (colour, mark) in MARKS.items()
        ]
        handles.append(Line2D([], [], color=QUIET, linestyle=(0, (4, 3)), linewidth=0.8, label="target"))
        figure.legend(handles=handles, loc="outside upper center", ncols=5, frameon=False)
        _save(figure, FRONTIER)


def plot_scaling(sizes: Sequence[Size], results: Mapping[str, Mapping[str, Run]], tiles_of: Mapping[str, int]) -> None:
    """Draw the time of a plan against the number of tiles: ours at every size, the rivals where they took part."""
    with mpl.rc_context(FIXED):
        figure = Figure(figsize=(7.5, 4.8), layout="constrained")
        panel = figure.subplots()
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.grid(color=GRID, linewidth=0.7)
        panel.set_axisbelow(True)
        tiles = [size.tiles for size in sizes]
        for contender in RIVALS:
            colour, mark = MARKS[contender]
            points = sorted((tiles_of[name], runs[contender].cpu_median_ms) for name, runs in results.items())
            panel.plot(
                *zip(*points, strict=True), color=colour, marker=mark, markersize=5, linewidth=1, label=contender
            )
        colour, mark = MARKS[OURS]
        medians = [size.cpu_median_ms for size in sizes]
        panel.plot(tiles, medians, color=colour, marker=mark, markersize=11, linewidth=2, label="ours")
        panel.plot(list(BARS_MS), list(BARS_MS.values()), "_", color=INK, markersize=26, markeredgewidth=2, label="bar")
        straight = [medians[0] * count / tiles[0] for count in tiles]
        panel.plot(tiles, straight, color=QUIET, linewidth=0.8, linestyle=(0, (4, 3)), label="linear growth")
        panel.set_xlabel("tiles (on a hundredth as many pods; 700 on 5)", color=INK)
        panel.set_ylabel("median processor time of a plan, ms", color=INK)
        panel.set_xticks([1_000, 10_000, 100_000, 1_000_000], ["1 K", "10 K", "100 K", "1 M"])
        panel.set_yticks([0.1, 1, 10, 100, 1_000], ["0.1", "1", "10", "100", "1,000"])
        panel.minorticks_off()
        for side in ("top", "right"):
            panel.spines[side].set_visible(False)
        figure.legend(loc="outside right upper", frameon=False)
        _save(figure, SCALING)


def _save(figure: Figure, path: Path) -> None:
    # Without a date in it, equal figures give an equal file.
    figure.savefig(path, format="svg", metadata={"Date": None})
    path.write_text("".join(line.rstrip() + "\n" for line in path.read_text().splitlines()))
