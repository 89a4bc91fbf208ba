#!/usr/bin/env python3
"""Owns the check of the Dockerfile on machines without a Docker engine: build, refuse, serve, answer for health, stop.

Every path of the image stands below a temporary folder, and what the Dockerfile says is taken at its word. What this
cannot show is the base image: its Python and its system libraries are this machine's.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from dockerfile import Builder, read_dockerfile

PROJECT = Path(__file__).resolve().parent.parent
TOKEN = "a-secret-of-this-check"
READY_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 10.0
"""`docker stop` kills after this time."""

POLL_SECONDS = 0.1


def main() -> None:
    """Do what `docker build`, `docker run` and `docker stop` would do."""
    if os.geteuid() != 0:
        sys.exit("the Dockerfile's steps change owners: run this as root")
    stages = read_dockerfile((PROJECT / "Dockerfile").read_text())
    with tempfile.TemporaryDirectory(prefix="docker-steps-") as temporary:
        folder = Path(temporary)
        folder.chmod(0o755)
        builder = Builder(PROJECT, folder, stages)
        builder.build()
        image = stages[-1]
        container = Container(_as_user(image.last("USER"), builder), builder)
        print(f"  {container.run([*image.entrypoint, '--version']).stdout.strip()}", flush=True)
        container.refuses_without_token(image.command)
        for _ in range(2):  # a container that is started again finds what the first one left in its volume
            container.serves(image.command, image.healthcheck)
    print("the Dockerfile's steps work")


class Container:
    """Runs commands as a container of the image would."""

    def __init__(self, as_user: Sequence[str], builder: Builder) -> None:
        self._as_user = as_user
        self._directory = builder.directory
        self._variables = builder.variables | {"SESSION_MANAGER_PORT": str(_free_port())}

    def run(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [*self._as_user, *command],
            env=self._variables,
            cwd=self._directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=READY_SECONDS_MAX,
        )

    def refuses_without_token(self, command: Sequence[str]) -> None:
        """Make sure that nobody serves the network without a token by oversight."""
        done = self.run(command)
        told = done.stderr.strip().splitlines()
        if done.returncode == 0 or len(told) != 1 or "SESSION_MANAGER_ACCESS_TOKEN" not in told[0]:
            sys.exit(f"without a token: one clear line is due, not status {done.returncode} and\n{done.stderr}")
        print(f"  without a token: {told[0]}", flush=True)

    def serves(self, command: Sequence[str], healthcheck: Sequence[str]) -> None:
        """Make sure that it becomes healthy, and on SIGTERM ends in time and wholly."""
        self._variables["SESSION_MANAGER_ACCESS_TOKEN"] = TOKEN
        began_seconds = time.monotonic()
        server = subprocess.Popen(
            [*self._as_user, *command],
            env=self._variables,
            cwd=self._directory,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            for _ in _tries(READY_SECONDS_MAX, "become healthy"):
                if server.poll() is not None:
                    sys.exit(f"the server ended with status {server.returncode}")
                if self.run(healthcheck).returncode == 0:
                    break
            print(f"  healthy after {time.monotonic() - began_seconds:.1f} s", flush=True)
            server.send_signal(signal.SIGTERM)
            status = server.wait(STOP_SECONDS_MAX)
            if status != 0:
                sys.exit(f"the server ended with status {status} after SIGTERM")
            if _has_processes(server.pid):
                sys.exit("the server left a process behind")
        finally:
            if _has_processes(server.pid):
                os.killpg(server.pid, signal.SIGKILL)
                server.wait()


def _as_user(user: str, builder: Builder) -> list[str]:
    """What runs a command as the image's user, as far as that user can run this machine's Python."""
    uid, _, gid = user.partition(":")
    prefix = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--no-new-privs"]
    python = shutil.which("python3", path=builder.variables["PATH"]) or "python3"
    # One that may not read the Python of a virtual environment silently gets another one.
    home = [python, "-c", "import sys; print(sys.base_prefix)"]
    own, theirs = (
        subprocess.run(command, cwd="/", capture_output=True, text=True).stdout for command in (home, prefix + home)
    )
    if own == theirs:
        return prefix
    print(f"  user {user} cannot run the Python in {own.strip()}: going on as root", flush=True)
    os.chown(builder.placed("/data"), 0, 0)
    return []


def _has_processes(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _tries(seconds_max: float, what: str) -> Iterator[None]:
    deadline = time.monotonic() + seconds_max
    while time.monotonic() < deadline:
        yield
        time.sleep(POLL_SECONDS)
    sys.exit(f"the server did not {what} within {seconds_max:g} s")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    main()
