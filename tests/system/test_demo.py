"""The demo as one runs it: what is stopped or killed is waited for or started again, said, and no reason to end."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tests.support.polling import eventually
from tests.support.server import running_server

pytestmark = [pytest.mark.anyio, pytest.mark.xdist_group("failover"), pytest.mark.long]

SECONDS_MAX = 60.0


@dataclass
class Demo:
    """The demo's process, what it prints, and its Valkey."""

    process: "subprocess.Popen[bytes]"
    printed_at: Path
    redis_url: str
    port: int

    @property
    def lines(self) -> list[str]:
        return [line for line in self.printed_at.read_text().splitlines() if " aloft " in line]

    @property
    def accepted(self) -> int:
        found = re.search(r"accepted ([\d,]+) twice 0 ", self.lines[-1] if self.lines else "")
        return int(found[1].replace(",", "")) if found else 0

    async def goes_on(self) -> None:
        before = self.accepted
        await self._until(lambda: self.accepted > before and "WAITING" not in self.lines[-1], "records are accepted")

    async def waits(self) -> None:
        await self._until(lambda: "WAITING" in self.lines[-1], "it says that it waits")

    async def valkey(self) -> int:
        async with Redis.from_url(self.redis_url) as client:
            return int((await client.info("server"))["process_id"])

    def server(self) -> int | None:
        children = subprocess.run(
            ["pgrep", "-P", str(self.process.pid), "-f", f"serve --port {self.port}"],
            capture_output=True,
            text=True,
            check=False,
        )
        return int(children.stdout.split()[0]) if children.stdout else None

    async def _until(self, condition: Callable[[], object], what: str) -> None:
        def holds() -> bool:
            assert self.process.poll() is None, self.printed_at.read_text()
            return bool(condition())

        await eventually(holds, what, SECONDS_MAX)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    command = [sys.executable, "-m", "subgraph", "demo", "--plain", "--pods", "2", "--port", str(port)]
    with (tmp_path / "printed").open("w") as printed:
        process = subprocess.Popen(
            [*command, "--data-dir", str(tmp_path / "data")],
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            # Whoever runs in the background may have been told to ignore it, and so would those it starts.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    try:
        yield Demo(process, tmp_path / "printed", f"unix://{tmp_path}/data/valkey/valkey.sock", port)
    finally:
        process.kill()
        process.wait()


async def test_a_stopped_valkey_and_killed_ones_are_no_reason_to_end(demo: Demo) -> None:
    await demo.goes_on()
    stopped = await demo.valkey()
    os.kill(stopped, signal.SIGSTOP)
    await demo.waits()
    os.kill(stopped, signal.SIGCONT)
    await demo.goes_on()
    os.kill(await demo.valkey(), signal.SIGKILL)
    server = demo.server()
    assert server is not None
    os.kill(server, signal.SIGKILL)
    await eventually(lambda: demo.server() not in (None, server), "another server runs", SECONDS_MAX)
    await demo.goes_on()
    demo.process.send_signal(signal.SIGINT)
    assert demo.process.wait(SECONDS_MAX) == 0
    assert "Traceback" not in demo.printed_at.read_text()


def test_a_server_that_listens_there_already_is_not_taken_for_its_own(tmp_path: Path) -> None:
    with running_server(tmp_path / "data") as server:
        port = server.url.rpartition(":")[2]
        arguments = ["demo", "--plain", "--pods", "2", "--seconds", "1", "--port", port]
        demo = subprocess.run(
            [sys.executable, "-m", "subgraph", *arguments],
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
        )
        assert (demo.returncode, "Traceback" in demo.stderr) == (1, False)
        assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in demo.stderr
        held = server.data("{ fleet { podCount } mainSession { partition { tileCount } } }")
        assert held == {"fleet": {"podCount": 0}, "mainSession": {"partition": {"tileCount": 0}}}


def test_what_is_set_in_the_shell_is_for_other_servers(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    settings = {"ACCESS_TOKEN": "a-secret-token", "GATEWAY_SECRET": "another-secret", "ENABLED": "false", "FLEET": "x"}
    environment = os.environ | {f"SESSION_MANAGER_{name}": value for name, value in settings.items()}
    demo = subprocess.run(
        [sys.executable, "-m", "subgraph", "demo", "--plain", "--pods", "2", "--seconds", "1", "--port", port],
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        env=environment,
        check=False,
    )
    assert (demo.returncode, demo.stderr) == (0, "")
    assert " aloft " in demo.stdout
