"""The count of ACTIVE sessions on every database, and the gauge it is told by: few labels, and no count too often."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from subgraph.adapters.prometheus.session_count_metric import COUNT_SECONDS, DATA_SOURCES_MAX, SessionCountCollector
from subgraph.adapters.sql.database import Database
from subgraph.adapters.sql.session_counts import active_sessions_by_data_source
from subgraph.adapters.sql.session_store import SqlSessionStore
from subgraph.domain import sessions
from subgraph.domain.errors import Unavailable
from subgraph.domain.ids import TenantId
from subgraph.domain.new_session import NewSession
from subgraph.domain.sessions import Session

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("Metric `stream_api_sessions_total` (gauge, by data_source)")]

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


async def made(database: Database, source: str | None, tenant: str = "tenant", hours: int = 720) -> Session:
    wanted = NewSession(data_source=source, ttl=timedelta(hours=hours))
    change = sessions.create(wanted, TenantId(tenant), "ann", NOW)
    await SqlSessionStore(database).commit(change)
    return change.created[0]


async def test_active_sessions_of_all_tenants_are_counted_by_data_source(database: Database) -> None:
    for source, tenant in (("a", "one"), ("a", "two"), ("b", "one"), (None, "one"), ("c", "one")):
        await made(database, source, tenant)
    stopped = await made(database, "a")
    await SqlSessionStore(database).commit(sessions.end(stopped, actor="ann", now=NOW))
    await made(database, "a", hours=1)
    later = NOW + timedelta(hours=2)
    assert await active_sessions_by_data_source(database, later, 10) == {"a": 2, "": 1, "b": 1, "c": 1}
    assert await active_sessions_by_data_source(database, later, 2) == {"a": 2, "": 1, None: 2}


async def test_the_gauge_counts_again_only_after_a_while_and_says_nothing_it_does_not_know() -> None:
    now, counts, asked = 0.0, {"trains": 3, None: 7}, 0

    async def count(most: int) -> Mapping[str | None, int]:
        nonlocal asked
        asked += 1
        assert most == DATA_SOURCES_MAX
        if now > COUNT_SECONDS:
            raise Unavailable("away")
        return counts

    gauge, registry = SessionCountCollector(count, lambda: now), CollectorRegistry()
    registry.register(gauge)
    await gauge.refresh()
    now = COUNT_SECONDS / 2
    await gauge.refresh()
    told = generate_latest(registry).decode()
    assert asked == 1
    assert 'stream_api_sessions_total{data_source="trains"} 3.0' in told
    assert 'stream_api_sessions_total{data_source="(others)"} 7.0' in told
    assert "# TYPE stream_api_sessions_total gauge" in told
    now = COUNT_SECONDS * 2
    await gauge.refresh()
    assert generate_latest(registry) == b""
