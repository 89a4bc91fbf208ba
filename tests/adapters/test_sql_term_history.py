"""How the history is read in SQL: every list from its index, without sorting and without reading what it leaves out."""

import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from subgraph.adapters.sql.database import open_database, sqlite_url
from subgraph.adapters.sql.term_history import SqlTermHistory
from subgraph.domain.fleet.terms import TermChange, TermFacts
from subgraph.domain.ids import PodId
from subgraph.domain.ownership import AssignmentReason, AssignmentState, Term
from subgraph.operations.history.term_history import TermFilter
from tests.support.fleets import SESSION, T1, TENANT, A

pytestmark = pytest.mark.anyio

Use = Callable[[SqlTermHistory], Awaitable[object]]


@pytest.fixture
def executed() -> Iterator[list[tuple[str, Any]]]:
    """Every statement that is executed, with its parameters."""
    statements: list[tuple[str, Any]] = []

    def note(_: object, __: object, statement: str, parameters: Any, *___: object) -> None:
        if "assignment_history" in statement:
            statements.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    yield statements
    event.remove(Engine, "before_cursor_execute", note)


async def after_first(history: SqlTermHistory, wanted: TermFilter) -> object:
    page = await history.page(wanted, 1, None)
    return await history.page(wanted, 1, page.cursors[-1])


async def after_first_of_tile(history: SqlTermHistory) -> object:
    page = (await history.pages_of_tiles([T1], 1, None))[T1]
    return await history.pages_of_tiles([T1], 1, page.cursors[-1])


OF_SESSION = TermFilter(tenant_id=TENANT, session_id=SESSION)
IN_TIME = TermFilter(since_ms=1, until_ms=10)


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        (lambda h: h.pages_of_tiles([T1], 20, None), "_tile (fleet_id=? AND session_id=? AND cell=?)"),
        (after_first_of_tile, "_tile (fleet_id=? AND session_id=? AND cell=? AND epoch<?)"),
        (lambda h: h.page(OF_SESSION, 20, None), "_session (fleet_id=? AND session_id=?)"),
        (lambda h: after_first(h, OF_SESSION), "_session (fleet_id=? AND session_id=? AND assigned_at_ms<?)"),
        (lambda h: h.page(TermFilter(pod_id=A), 20, None), "_pod (fleet_id=? AND pod_id=?)"),
        (lambda h: after_first(h, TermFilter(pod_id=A)), "_pod (fleet_id=? AND pod_id=? AND assigned_at_ms<?)"),
        (lambda h: h.page(TermFilter(), 20, None), "_time (fleet_id=?)"),
        (lambda h: h.page(IN_TIME, 20, None), "_time (fleet_id=? AND assigned_at_ms>? AND assigned_at_ms<?)"),
        (lambda h: h.churn(1), "_time (fleet_id=? AND assigned_at_ms>?)"),
        (lambda h: h.living_epochs(0, 100), "_end (fleet_id=? AND ended_at_ms=? AND epoch>?)"),
        (lambda h: h.terms([1, 2, 3]), "PRIMARY KEY (epoch=? AND fleet_id=?)"),
        (lambda h: h.sweep(10, 100), "_end (fleet_id=? AND ended_at_ms<?)"),
    ],
    ids=lambda given: given.strip("_") if isinstance(given, str) else "",
)  # fmt: skip
async def test_it_is_read_from_an_index_without_sorting(
    tmp_path: Path, executed: list[tuple[str, Any]], use: Use, expected: str
) -> None:
    path = tmp_path / "sessions.sqlite3"
    database = await open_database(sqlite_url(path))
    history = SqlTermHistory(database, "fleet")
    await history.record([fact(epoch) for epoch in range(1, 4)])
    executed.clear()
    await use(history)
    await database.close()
    statement, parameters = executed[-1]
    connection = sqlite3.connect(path)
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]
    connection.close()
    assert plan[-1 if "DELETE" in statement else 0].replace("COVERING ", "").endswith(expected), plan
    assert not [step for step in plan if step.startswith("SCAN") or "ORDER BY" in step], plan


def fact(epoch: int) -> TermFacts:
    term = Term(PodId("a"), epoch, AssignmentReason.INITIAL, assigned_at_ms=epoch)
    return TermFacts(TermChange(T1, term, AssignmentState.LOST, ended_at_ms=epoch), TENANT, epoch)
