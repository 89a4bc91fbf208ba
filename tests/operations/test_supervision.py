"""A background task that ends makes its process unhealthy, under the task's name."""

import asyncio
import logging
from pathlib import Path

import httpx
import pytest

from subgraph.app import create_app
from subgraph.operations.supervision import Supervisor
from subgraph.settings import Settings

pytestmark = pytest.mark.anyio


async def fails() -> None:
    raise ValueError("a bug")


async def ends() -> None:
    return


async def works() -> None:
    await asyncio.Event().wait()


async def test_a_task_that_fails_or_ends_is_known_by_name(caplog: pytest.LogCaptureFixture) -> None:
    supervisor = Supervisor()
    with caplog.at_level(logging.CRITICAL):
        for name, work in (("failing", fails), ("ending", ends), ("working", works)):
            supervisor.start(name, work())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert supervisor.failures == {"failing": "ValueError: a bug", "ending": "it ended"}
    assert [record.message for record in caplog.records] == [
        f"background task {name} has died: this process needs a restart" for name in ("failing", "ending")
    ]
    await supervisor.stop()


async def test_stopping_is_no_failure() -> None:
    supervisor = Supervisor()
    supervisor.start("working", works())
    await supervisor.stop()
    assert supervisor.failures == {}


@pytest.mark.parametrize(
    "name", ["event-bus", "fleet-view", "tile-effects", "tile-changes", "outbox-relay", "control-loop"]
)
async def test_health_tells_of_every_background_task_that_died(valkey_url: str, tmp_path: Path, name: str) -> None:
    settings = Settings(
        redis_url=valkey_url, database_url=f"sqlite:///{tmp_path}/sessions.sqlite3", fleet=f"health-{name}"
    )
    app = create_app(settings)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as http,
    ):
        assert (await http.get("/healthz")).json() == {"status": "alive", "problems": {}}
        (task,) = (task for task in asyncio.all_tasks() if task.get_name() == name)
        task.cancel()
        await asyncio.wait([task])
        health, readiness = await http.get("/healthz"), await http.get("/readyz")
        assert (health.status_code, health.json()) == (503, {"status": "dead", "problems": {name: "it ended"}})
        assert readiness.status_code == 503
        assert name in readiness.json()["problems"]
