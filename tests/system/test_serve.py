"""`session-manager serve` as a user runs it: it starts, says where it is, keeps its data, ends, and fails clearly."""

import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeAlias

import httpx
import pytest

from tests.support.server import END_SECONDS_MAX, RunningServer, running_server, server_by_command, until
from tests.support.warm_process import WarmProcess, run_command, run_in_new_interpreter
from tests.support.world import FakeWork, disk, new_session, until_owned

Starts: TypeAlias = Callable[[Path], AbstractContextManager[RunningServer]]


def children_of(pid: int) -> list[int]:
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in listed.splitlines()]
    return [child for child, parent in pairs if parent == pid]


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.fixture(autouse=True)
def _terminal_is_heard() -> Iterator[None]:
    """Who runs the tests in the background may have had them ignore it, and so would those they start."""
    former = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, former)


@pytest.mark.parametrize(
    ("start", "by"),
    [
        (server_by_command, signal.SIGINT),
        (running_server, signal.SIGINT),
        (running_server, signal.SIGTERM),
        (running_server, signal.SIGHUP),
    ],
)
def test_it_ends_by_a_signal_with_everything_it_started(tmp_path: Path, start: Starts, by: signal.Signals) -> None:
    with start(tmp_path / "data") as server:
        children = children_of(server.process.pid)
        assert children, "the embedded Valkey is a child"
        server.stop(by)
        assert server.process.returncode == 0
        assert not any(map(is_running, children))


@pytest.mark.parametrize("pause_seconds", [0.1, 0.6])
def test_asked_twice_to_end_it_goes_on_ending_in_order(tmp_path: Path, pause_seconds: float) -> None:
    with running_server(tmp_path / "data") as server:
        children = children_of(server.process.pid)
        server.process.send_signal(signal.SIGINT)
        time.sleep(pause_seconds)
        server.stop(signal.SIGINT)
        assert server.process.returncode == 0
        assert not any(map(is_running, children))
    assert "Traceback" not in (tmp_path / "data.log").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what its processes are")
@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_workers_that_are_just_starting_end_with_the_terminal_without_a_word(
    tmp_path: Path, by: signal.Signals
) -> None:
    log = tmp_path / "log"
    arguments = ["serve", "--port", "0", "--workers", "2", "--data-dir", str(tmp_path / "data")]
    process = WarmProcess(arguments, log, os.environ)

    def workers() -> list[int]:
        said = {pid: Path(f"/proc/{pid}/cmdline") for pid in children_of(process.pid)}
        return [pid for pid, line in said.items() if b"spawn_main" in line.read_bytes()]

    try:
        children = until(lambda: len(found := workers()) == 2 and found, "two workers are started")
        # As a terminal does, to all that belongs to it.
        os.killpg(process.pid, by)
        assert process.wait(END_SECONDS_MAX) == 0
        assert not any(map(is_running, children))
        assert [one for one in log.read_text().splitlines() if "Serving this machine" not in one] == []
    finally:
        process.kill()
        process.wait()


def test_killed_hard_it_leaves_no_process_and_the_directory_free(tmp_path: Path) -> None:
    with running_server(tmp_path / "data") as server:
        children = children_of(server.process.pid)
        session_id = new_session(server, displayName="kept")
        server.stop(signal.SIGKILL)
        if sys.platform == "linux":
            until(lambda: not any(map(is_running, children)), "the children ended with it")
    with running_server(tmp_path / "data") as again:
        found = again.data("query($id: ID!) { session(ref: {id: $id}) { displayName } }", id=session_id)
        assert found == {"session": {"displayName": "kept"}}


def test_sessions_tiles_and_epochs_are_kept_over_a_restart(tmp_path: Path) -> None:
    with running_server(tmp_path / "data") as server:
        pod = FakeWork(server)
        pod.register()
        session_id = new_session(server, disk(1))
        before = {tile["id"]: tile["assignment"]["epoch"] for tile in until_owned(server, session_id, 7)}
        version = server.data("{ fleet { version } }")["fleet"]["version"]
        server.stop()
    with running_server(tmp_path / "data") as again:
        assert again.data("{ fleet { version } }")["fleet"]["version"] > version
        pod = FakeWork(again, id=pod.id)
        pod.register(held=[{"tileId": tile_id, "epoch": epoch} for tile_id, epoch in before.items()])
        until(
            lambda: all(t["assignment"]["epoch"] > before[t["id"]] for t in until_owned(again, session_id, 7)),
            "every tile is owned again, at a higher epoch",
        )


def test_a_second_server_on_the_directory_is_told_who_holds_it(tmp_path: Path) -> None:
    with running_server(tmp_path / "data") as server:
        second = run_command("serve", "--port", "0", "--data-dir", str(tmp_path / "data"))
        assert second.returncode == 1
        (line,) = second.stderr.strip().splitlines()
        assert str(server.process.pid) in line
        assert server.url in line


def test_two_servers_share_given_stores_and_deliver_each_others_events(tmp_path: Path) -> None:
    from tests.support.subscriber import subscribed

    with running_server(tmp_path / "one") as one:
        urls = {"SESSION_MANAGER_REDIS_URL": one.redis_url}
        urls["SESSION_MANAGER_DATABASE_URL"] = f"sqlite:///{tmp_path}/one/session-manager.sqlite3"
        with running_server(tmp_path / "two", **urls) as two:
            started = 'subscription { sessionStarted(dataSource: "shared") { sessionKey } }'
            with subscribed(two.websocket_url, started) as subscriber:
                until(
                    lambda: bool(new_session(one, dataSource="shared")) and subscriber.has_more,
                    "a session started at one server is told at the other",
                )
            pod = FakeWork(two)
            pod.register()
            session_id = new_session(one, disk(1))
            assert len(until_owned(two, session_id, 7)) == len(until_owned(one, session_id, 7)) == 7
            leaders = {server.data("{ fleet { leader } }")["fleet"]["leader"] for server in (one, two)}
            assert len(leaders) == 1
            pod.leave()
            two.stop()


def test_several_workers_serve_one_fleet_and_log_as_the_first_process_does(tmp_path: Path) -> None:
    with server_by_command(tmp_path / "data", "--workers", "2", "--log-level", "info") as server:
        log = tmp_path / "data.log"
        assert "Application startup complete" in log.read_text().partition("GraphiQL: ")[0], (
            "one of them serves by then"
        )
        session_id = new_session(server, disk(0))
        query = "query($id: ID!) { session(ref: {id: $id}) { partition { tileCount } } }"

        def seen_everywhere() -> bool:
            # New connections spread over the workers.
            answers = [
                httpx.post(f"{server.url}/graphql", json={"query": query, "variables": {"id": session_id}}).json()
                for _ in range(8)
            ]
            # A worker that is still starting answers Unavailable.
            sessions = [answer["data"] and answer["data"]["session"] for answer in answers]
            return all(session and session["partition"]["tileCount"] == 1 for session in sessions)

        until(seen_everywhere, "every worker sees the tile")
        leads = r"^\d{4}-\d\d-\d\d \S+ INFO subgraph\.[a-z_.]+: \S+ leads fleet"
        until(
            lambda: re.search(leads, log.read_text(), re.MULTILINE), "a worker says with time and module that it leads"
        )
        children = children_of(server.process.pid)
        server.stop()
        # Python's own helper process of the workers ends a moment after their parent.
        until(lambda: not any(map(is_running, children)), "nothing is left")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has ended")
def test_workers_do_not_outlive_a_server_that_is_killed(tmp_path: Path) -> None:
    with running_server(tmp_path / "data", "--workers", "2") as server:
        children = children_of(server.process.pid)
        assert len(children) >= 2
        server.process.kill()
        until(lambda: not any(map(is_running, children)), "nothing is left")


def test_a_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        failed = run_in_new_interpreter("serve", "--port", str(port), "--data-dir", str(tmp_path / "data"))
    assert failed.returncode == 1
    (line,) = failed.stderr.strip().splitlines()
    assert str(port) in line
    assert "in use" in line


def test_an_unreachable_redis_is_one_clear_line_without_its_password(tmp_path: Path) -> None:
    url = "redis://user:secret@127.0.0.1:1/0"
    failed = run_command("serve", "--port", "0", "--data-dir", str(tmp_path / "data"), "--redis-url", url)
    assert failed.returncode == 1
    (line,) = failed.stderr.strip().splitlines()
    assert "127.0.0.1:1" in line
    assert "secret" not in line


def test_a_database_of_a_newer_version_is_one_clear_line(tmp_path: Path) -> None:
    with running_server(tmp_path / "data") as server:
        server.stop()
    with sqlite3.connect(tmp_path / "data" / "session-manager.sqlite3") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999_from_the_future'")
    database.close()
    failed = run_command("serve", "--port", "0", "--data-dir", str(tmp_path / "data"))
    assert failed.returncode == 1
    (line,) = failed.stderr.strip().splitlines()
    assert "9999_from_the_future" in line


@pytest.mark.parametrize(
    ("arguments", "environment", "says"),
    [
        (["--host", "0.0.0.0"], {}, "ACCESS_TOKEN"),
        (["--workers", "0"], {}, "WORKERS"),
        (["--host", "0.0.0.0", "--access-token", ""], {}, "ACCESS_TOKEN"),
        ([], {"SESSION_MANAGER_ACCESS_TOKEN": "pässwörter"}, "ACCESS_TOKEN"),
        ([], {"SESSION_MANAGER_POD_LEASE_SECONDS": "9"}, "pod_lease_seconds"),
        ([], {"SESSION_MANAGER_JWT_SECRET": "short"}, "JWT_SECRET must have at least 32 bytes"),
        ([], {"SESSION_MANAGER_JWT_PUBLIC_KEY_FILE": "no/such/key.pem"}, "no/such/key.pem holds no public key"),
        ([], {"SESSION_MANAGER_JWT_PUBLIC_KEY_FILE": "no/such/key.pem"}, "SESSION_MANAGER_JWT_PUBLIC_KEY_FILE: "),
        ([], {"SESSION_MANAGER_TAKE_OVER_SECONDS": "0"}, "TAKE_OVER_SECONDS"),
        ([], {"SESSION_MANAGER_LOG_LEVEL": "loud"}, "LOG_LEVEL must be one of debug, info, warning, error"),
        (
            [],
            {"SESSION_MANAGER_REDIS_URL": "http://x"},
            "SESSION_MANAGER_REDIS_URL: cannot be read: write it as redis:",
        ),
        ([], {"SESSION_MANAGER_REDIS_URL": "localhost:6379"}, "SESSION_MANAGER_REDIS_URL: cannot be read"),
        ([], {"SESSION_MANAGER_REDIS_URL": "redis://127.0.0.1:99999"}, "a port is at most 65535"),
        ([], {"SESSION_MANAGER_REDIS_URL": "redis://127.0.0.1:1"}, "SESSION_MANAGER_REDIS_URL: Redis at"),
        ([], {"SESSION_MANAGER_DATABASE_URL": "/data/x.db"}, "SESSION_MANAGER_DATABASE_URL: the database URL cannot"),
    ],
)
def test_bad_settings_are_one_clear_line(
    tmp_path: Path, arguments: list[str], environment: dict[str, str], says: str
) -> None:
    failed = run_command(
        "serve", "--port", "0", *arguments, **{"SESSION_MANAGER_DATA_DIR": str(tmp_path), **environment}
    )
    assert failed.returncode == 1
    (line,) = failed.stderr.strip().splitlines()
    assert says.lower() in line.lower()


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({}, "Serving this machine only, without authentication, as tenant 'default' (127.0.0.1)."),
        (
            {"SESSION_MANAGER_ALLOW_OPEN_ACCESS": "true"},
            "Serving whoever reaches 127.0.0.1, without authentication, as tenant 'default': as set.",
        ),
        ({"SESSION_MANAGER_ACCESS_TOKEN": "s3cret-token"}, None),
    ],
)
def test_it_says_at_the_start_whom_it_serves_without_authentication(
    tmp_path: Path, environment: dict[str, str], says: str | None
) -> None:
    with running_server(tmp_path / "data", **environment):
        said = (tmp_path / "data.log").read_text().splitlines()
    assert [line for line in said if line.startswith("Serving")] == ([says] if says else [])


def test_an_access_token_is_asked_for_over_http_and_websocket(tmp_path: Path) -> None:
    from websockets.exceptions import ConnectionClosedError

    from tests.support.subscriber import socket_to

    with running_server(tmp_path / "data", SESSION_MANAGER_ACCESS_TOKEN="s3cret-token") as server:
        refused = server.http.post("/graphql", json={"query": "{ fleet { id } }"})
        assert refused.status_code == 401
        assert server.http.post("/graphql", json={}, headers={"Authorization": "Bearer wrong"}).status_code == 401
        shown = {"Authorization": "Bearer s3cret-token"}
        assert server.http.post("/graphql", json={"query": "{ fleet { id } }"}, headers=shown).json()["data"]
        assert server.http.get("/graphql", headers={"Accept": "text/html"}).status_code == 200
        with socket_to(server.websocket_url, authorization="Bearer s3cret-token"):
            pass
        with pytest.raises(ConnectionClosedError, match="4401"), socket_to(server.websocket_url):
            pass


def test_readiness_follows_redis_and_health_the_background_tasks(tmp_path: Path) -> None:
    with running_server(tmp_path / "data") as server:
        (valkey,) = children_of(server.process.pid)
        os.kill(valkey, signal.SIGSTOP)
        try:
            until(lambda: server.http.get("/readyz").status_code == 503, "it is not ready without Redis")
            answer = server.ask("{ fleet { version } }")
            assert answer["errors"][0]["extensions"]["code"] == "UNAVAILABLE"
            assert server.http.get("/healthz").status_code == 200
        finally:
            os.kill(valkey, signal.SIGCONT)
        until(lambda: server.http.get("/readyz").status_code == 200, "it is ready again")


def _metrics_with(server: RunningServer, pattern: str) -> str | None:
    text = server.http.get("/metrics").text
    return text if re.search(pattern, text, re.MULTILINE) else None


def test_metrics_tell_of_the_fleet_and_its_loop(tmp_path: Path) -> None:
    with running_server(tmp_path / "data") as server:
        pod = FakeWork(server)
        pod.register()
        session_id = new_session(server, disk(1))
        until_owned(server, session_id, 7)
        healthy = r'^session_manager_tiles\{fleet="default",health="HEALTHY",.*\} 7\.0$'
        text = until(lambda: _metrics_with(server, healthy), "seven healthy tiles are told")
        assert re.search(r'^session_manager_moves_total\{.*reason="INITIAL"\} 7\.0$', text, re.MULTILINE)
        assert re.search(r"^session_manager_background_tasks_dead\{.*\} 0\.0$", text, re.MULTILINE)
