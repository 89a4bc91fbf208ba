"""Owns how figures are shown: the line about the machine, tables, and whether each bar holds."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import subgraph


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a bar holds, and the figure that says so."""

    bar: str
    holds: bool
    detail: str


def machine_line(core: int) -> str:
    """What the figures were measured on and with."""
    cpu_lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(": ")[2] for line in cpu_lines if line.startswith("model name")), "unknown processor")
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "h3", "pymetis"))
    return (
        f"{os.cpu_count()} cores, {model}, this on core {core}, one thread; "
        f"Python {platform.python_version()}, {packages}, session-manager {subgraph.__version__}"
    )


def print_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table in Markdown, aligned for the eye: the first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in [heads, *rows]) for column in range(len(heads))]
    rules = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    for cells in (heads, rules, *rows):
        first = cells[0].ljust(widths[0])
        others = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        print("| " + " | ".join([first, *others]) + " |", flush=True)


def print_verdicts(verdicts: Sequence[Verdict]) -> None:
    """Print every bar with its figure."""
    words = {True: "holds", False: "MISSED"}
    print()
    print_table(("bar", "", "figure"), [(v.bar, words[v.holds], v.detail) for v in verdicts])
