"""One process at a time in a data directory, and one clear line for everybody else."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from subgraph.adapters.data_directory import DataDirectory, DataDirectoryHeld, DataDirectoryUnusable

HOLDER = """
import sys
from subgraph.adapters.data_directory import DataDirectory
directory = DataDirectory(sys.argv[1])
directory.acquire()
directory.describe("http://127.0.0.1:8000")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the directory until its input ends."""
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def refusal(path: Path) -> str:
    with pytest.raises(DataDirectoryUnusable) as refused:
        DataDirectory(path).acquire()
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_missing_directory_is_made_for_its_user_alone(path: Path) -> None:
    directory = DataDirectory(path / "deeper")
    directory.acquire()
    assert (path / "deeper").stat().st_mode & 0o777 == 0o700
    assert directory.database_path == path / "deeper" / "session-manager.sqlite3"
    assert directory.valkey_directory == path / "deeper" / "valkey"
    directory.release()


def test_a_relative_path_is_the_same_directory_wherever_the_process_goes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.mkdir()
    monkeypatch.chdir(path.parent)
    directory = DataDirectory("data")
    monkeypatch.chdir("/")
    assert directory.database_path.parent == path


def test_the_lock_tells_who_holds_the_directory(path: Path) -> None:
    directory = DataDirectory(path)
    directory.acquire()
    directory.describe("http://127.0.0.1:" + "8" * 100)
    directory.describe("http://[::1]:8000")
    told = json.loads((path / "lock").read_text())
    assert told["pid"] == os.getpid()
    assert told["url"] == "http://[::1]:8000"
    assert told["host"]
    assert datetime.now(UTC) - datetime.fromisoformat(told["since"]) < timedelta(minutes=1)
    assert (path / "lock").stat().st_mode & 0o777 == 0o600
    directory.release()


def test_a_second_holder_is_refused_and_told_the_first(path: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(DataDirectoryHeld) as refused:
        DataDirectory(path).acquire()
    held = refused.value
    assert (held.path, held.pid, held.url) == (path, holder.pid, "http://127.0.0.1:8000")
    assert held.since is not None
    since = held.since.isoformat(sep=" ", timespec="seconds")
    assert str(held) == (
        f"data directory {path} is in use by process {holder.pid} since {since}, serving http://127.0.0.1:8000"
    )
    assert json.loads((path / "lock").read_text())["pid"] == holder.pid


def test_a_killed_holder_holds_nothing(path: Path, holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait(10)
    directory = DataDirectory(path)
    directory.acquire()
    assert json.loads((path / "lock").read_text())["pid"] == os.getpid()
    directory.release()


def test_a_released_directory_can_be_taken_again_and_twice_is_once(path: Path) -> None:
    first, second = DataDirectory(path), DataDirectory(path)
    first.acquire()
    first.acquire()
    with pytest.raises(DataDirectoryHeld):
        second.acquire()
    first.release()
    first.release()
    second.acquire()
    with pytest.raises(DataDirectoryHeld):
        first.acquire()
    second.release()


def test_a_child_of_the_holder_does_not_inherit_the_directory(path: Path) -> None:
    """A server that outlives its parent by a moment must not keep the next one out."""
    directory = DataDirectory(path)
    directory.acquire()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False) as child:
        directory.release()
        directory.acquire()
        child.kill()
    directory.release()


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"pid": "x", "since": "yesterday", "url": 5}', b"\xff" * 9_000])
def test_a_holder_that_has_not_told_who_it_is_holds_all_the_same(path: Path, text: bytes) -> None:
    directory = DataDirectory(path)
    directory.acquire()
    (path / "lock").write_bytes(text)
    assert refusal(path) == f"data directory {path} is in use by another process"
    directory.release()


def test_only_the_holder_describes_itself(path: Path) -> None:
    with pytest.raises(DataDirectoryUnusable, match="has not been acquired"):
        DataDirectory(path).describe("http://127.0.0.1:8000")


def test_a_file_is_no_directory(path: Path) -> None:
    path.write_text("")
    assert refusal(path) == f"data directory {path} is not a directory"
    assert refusal(path / "below") == f"data directory {path / 'below'} cannot be created: Not a directory"


def test_a_directory_that_cannot_be_written_is_refused(path: Path) -> None:
    path.mkdir()
    (path / "lock").mkdir()
    assert refusal(path) == f"data directory {path} cannot be written: Is a directory"


def test_a_lock_that_leads_elsewhere_is_not_followed(path: Path, tmp_path: Path) -> None:
    path.mkdir()
    (path / "lock").symlink_to(tmp_path / "elsewhere")
    assert refusal(path).startswith(f"data directory {path} cannot be written: ")
    assert not (tmp_path / "elsewhere").exists()


def test_a_directory_of_another_user_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.mkdir()
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    assert refusal(path) == f"data directory {path} belongs to user {owner}, and this process runs as user {owner + 1}"
