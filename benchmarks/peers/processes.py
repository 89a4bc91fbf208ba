"""Owns the contenders' processes: on which core they run, and the processor time they and their store have used."""

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class CpuSeconds:
    """Processor time: of the server, and of the Valkey that holds its data."""

    server: float
    store: float

    def __sub__(self, earlier: "CpuSeconds") -> "CpuSeconds":
        return CpuSeconds(self.server - earlier.server, self.store - earlier.store)

    def __add__(self, other: "CpuSeconds") -> "CpuSeconds":
        return CpuSeconds(self.server + other.server, self.store + other.store)


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Whatever is started within runs on this core: children inherit it."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def server(
    command: Sequence[str], *, core: int, log: Path, env: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A server while it is needed. It is ended on leaving, and killed if it does not end."""
    with log.open("wb") as output, on_core(core):
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **env})
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def cpu_seconds(pid: int) -> CpuSeconds:
    """What a process and its living descendants have used; a descendant named valkey counts as the store."""
    name, seconds, children = _process(pid)
    own = CpuSeconds(0.0, seconds) if name.startswith("valkey") else CpuSeconds(seconds, 0.0)
    for child in children:
        own += cpu_seconds(child)
    return own


def store_seconds() -> CpuSeconds:
    """What the Valkey that this process started has used."""
    _, _, children = _process(os.getpid())
    return CpuSeconds(0.0, sum(seconds for name, seconds, _ in map(_process, children) if name.startswith("valkey")))


def _process(pid: int) -> tuple[str, float, list[int]]:
    """Name, seconds used (with those of its ended children) and living children."""
    proc = Path(f"/proc/{pid}")
    # The name stands in parentheses and may itself hold blanks and parentheses.
    head, _, tail = (proc / "stat").read_text().rpartition(")")
    user, system, children_user, children_system = map(int, tail.split()[11:15])
    children = [int(child) for task in (proc / "task").iterdir() for child in (task / "children").read_text().split()]
    name = head.partition("(")[2]
    return name, (user + system + children_user + children_system) / TICKS_PER_SECOND, children
