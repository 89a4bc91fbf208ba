"""What tiles require, as the fleet knows it: bounded in distinct sets, taken from SQL, forgotten with the session."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import cast

import pytest

from subgraph.domain import sessions
from subgraph.domain.errors import QuotaExceeded
from subgraph.domain.fleet.requirements import LABEL_SETS_MAX, SessionRequirement
from subgraph.domain.ids import SessionId
from subgraph.domain.new_session import NewSession
from subgraph.domain.ownership import TileRecord
from subgraph.domain.sessions import Session, SessionPatch
from subgraph.operations.coverage.label_rules import LabelRules
from subgraph.operations.coverage.retirement import Retirement
from subgraph.operations.fleet.fleet_writes import TILES_PER_COMMIT_MAX, TileWrite
from subgraph.operations.sessions.session_ports import SessionStore
from subgraph.operations.sessions.sessions import Sessions
from tests.support.fleet_process import FleetProcess
from tests.support.fleets import TENANT, tile_ids

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 3, 1, tzinfo=UTC)
Starts = Callable[..., Awaitable[FleetProcess]]


class StoredSessions:
    """A session store that knows what a test puts into it."""

    def __init__(self, *stored: Session) -> None:
        self.by_id = {session.id: session for session in stored}

    async def sessions(self, tenant_id: str, session_ids: list[SessionId]) -> Mapping[SessionId, Session]:
        return {one: self.by_id[one] for one in session_ids if one in self.by_id}


def rules(process: FleetProcess, *stored: Session) -> LabelRules:
    store = cast(SessionStore, StoredSessions(*stored))
    return LabelRules(store, cast(Sessions, None), process.live, process.view)


def new(**required: str) -> Session:
    return sessions.create(NewSession(required_labels=required), TENANT, "ann", NOW).created[0]


def noted(process: FleetProcess, session: Session) -> SessionRequirement | None:
    return process.view.current().tiles.requirements.of_session(session.id)


async def test_a_fleet_takes_only_so_many_distinct_sets_and_known_ones_for_ever(start: Starts) -> None:
    process = await start()
    ids = tile_ids(LABEL_SETS_MAX)
    writes = [TileWrite(one, 0, TileRecord(TENANT, required={"n": str(n)})) for n, one in enumerate(ids)]
    for first in range(0, len(writes), TILES_PER_COMMIT_MAX):
        committed = await process.live.commit(None, writes[first : first + TILES_PER_COMMIT_MAX])
    await process.view.caught_up(committed.version, timeout_seconds=30)
    label_rules = rules(process)
    label_rules.check_room({"n": "7"}, {}, ("at",))
    label_rules.check_room({}, {"n": "7"}, ("at",))
    label_rules.check_room({}, {}, ("at",))
    for required, of_session in (({"n": "x"}, {}), ({"n": "7"}, {"zone": "eu"})):
        with pytest.raises(QuotaExceeded) as refused:
            label_rules.check_room(required, of_session, ("at",))
        assert (refused.value.limit, refused.value.current) == (LABEL_SETS_MAX, LABEL_SETS_MAX + 1)
        assert refused.value.path == ("at",)


async def test_what_sql_says_is_noted_and_an_older_word_changes_nothing(start: Starts) -> None:
    process = await start()
    first = new(zone="eu")
    (second,) = sessions.update(first, SessionPatch(required_labels={"zone": "us"}), actor="ann", now=NOW).updated
    await rules(process, second).note_changed(TENANT, first.id)
    assert noted(process, first) == SessionRequirement(2, {"zone": "us"})
    await rules(process).note(first)
    assert noted(process, first) == SessionRequirement(2, {"zone": "us"})


async def test_of_sessions_that_require_nothing_or_have_stopped_nothing_is_noted(start: Starts) -> None:
    process = await start()
    plain, stopped = new(), replace(new(zone="eu"), state=sessions.SessionState.ENDED)
    label_rules = rules(process, plain, stopped)
    for one in (plain, stopped):
        await label_rules.note_changed(TENANT, one.id)
        assert noted(process, one) is None
    await label_rules.note_changed(TENANT, SessionId("nobody"))


async def test_what_a_stopped_session_required_is_forgotten_with_its_tiles(start: Starts) -> None:
    process = await start()
    session = new(zone="eu")
    await rules(process, session).note(session)
    await Retirement(process.live, process.view).retire_session(session.id)
    await process.until(lambda _: noted(process, session) is None, "it is forgotten")
