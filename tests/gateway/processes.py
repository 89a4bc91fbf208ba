"""The composers and servers of this folder as child processes that never outlive their starter's block."""

import re
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
COMPOSE_SECONDS_MAX = 60
READY_SECONDS_MAX = 60
END_SECONDS_MAX = 15
POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Server:
    """A running Node server of this folder and the file that holds what it printed."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def url(self) -> str:
        """Wait until the server says where it listens; fail with its own words if it ends or takes too long."""
        deadline = time.monotonic() + READY_SECONDS_MAX
        while True:
            printed = self.log.read_text(errors="replace")
            if found := re.search(r"^listening on (\S+)\n", printed, re.MULTILINE):
                return found[1]
            ended = self.process.poll()
            if ended is not None or time.monotonic() > deadline:
                state = "still running" if ended is None else f"ended with {ended}"
                raise AssertionError(f"{self.name} listens nowhere ({state}):\n{printed}")
            time.sleep(POLL_SECONDS)


def compose(composer: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Compose a supergraph; the answer holds the composer's exit code and its errors."""
    return subprocess.run(
        ["node", "compose.mjs", composer, *arguments],
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=COMPOSE_SECONDS_MAX,
    )


@contextmanager
def running(
    name: str, command: Sequence[str | Path], directory: Path, environment: Mapping[str, str]
) -> Iterator[Server]:
    """Run a server while the block runs. Its standard input closes with this process, whatever becomes of it."""
    log = directory / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=HERE, env=dict(environment), stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield Server(name, process, log)
    finally:
        if process.stdin:
            process.stdin.close()
        process.terminate()
        try:
            process.wait(END_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
