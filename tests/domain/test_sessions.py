"""The rules of sessions: limits of what is asked, one lifecycle, one end each, and a tenant never without a main."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subgraph.domain.errors import IllegalState, InvalidInput, RevisionConflict
from subgraph.domain.ids import TenantId
from subgraph.domain.journal import SessionEventType
from subgraph.domain.labels import LABEL_KEY_LENGTH_MAX, LABEL_VALUE_LENGTH_MAX, REQUIRED_LABELS_MAX
from subgraph.domain.naming import DISPLAY_NAME_LENGTH_MAX
from subgraph.domain.new_session import (
    DETAIL_VALUE_LENGTH_MAX,
    DETAILS_MAX,
    METADATA_BYTES_MAX,
    TEXT_LENGTH_MAX,
    UTC_OFFSET_MAX,
    VERSION_MAX,
    NewSession,
)
from subgraph.domain.sessions import (
    TRANSITIONS,
    Session,
    SessionChange,
    SessionPatch,
    SessionState,
    check_patch,
    create,
    create_main,
    end,
    require_active,
    update,
)

TENANT = TenantId("tenant")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


def created(wanted: NewSession) -> Session:
    (session,) = create(wanted, TENANT, "ann", NOW).created
    return session


def main() -> Session:
    (session,) = create_main(TENANT, "ann", NOW).created
    return session


def ended(session: Session) -> Session:
    return end(session, actor="bob", now=LATER).updated[0]


def worked_on(now: datetime) -> dict[str, Any]:
    """What activity does to a sliding session."""
    return {"updated_at": now, "last_active_at": now, "expires_at": now + timedelta(hours=720)}


# ── Creation ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.requirement("Create: dataSource, type, version, utcOffset, identifier, details")
def test_a_new_session_is_active_at_revision_one_and_started_once() -> None:
    change = create(NewSession(display_name="a", data_source="trains"), TENANT, "ann", NOW)
    (session,) = change.created
    assert change.updated == ()
    assert (session.state, session.revision, session.is_main) == (SessionState.ACTIVE, 1, False)
    assert (session.tenant_id, session.owner_id) == (TENANT, "ann")
    assert (session.created_at, session.updated_at, session.ended_at) == (NOW, NOW, None)
    (event,) = change.events
    assert (event.type, event.actor) == (SessionEventType.SESSION_STARTED, "ann")
    assert (event.session_id, event.tenant_id, event.data_source) == (session.id, TENANT, "trains")
    assert event.occurred_at == NOW


def test_what_is_not_asked_has_its_default() -> None:
    session = created(NewSession())
    assert (session.type, session.version, session.utc_offset) == ("Session", 1, timedelta())
    assert (session.data_source, session.details, session.metadata) == (None, {}, {})
    assert session.display_name == f"session-{session.id[:8]}"


def test_every_session_has_a_key_of_its_own() -> None:
    keys = {created(NewSession(display_name="a")).id for _ in range(100)}
    assert len(keys) == 100
    assert all(str(UUID(key)) == key for key in keys)


def test_a_session_keeps_none_of_the_callers_containers() -> None:
    details, metadata = {"k": "v"}, {"k": "v"}
    session = created(NewSession(details=details, metadata=metadata))
    details["k"] = metadata["k"] = "changed"
    assert (session.details, session.metadata) == ({"k": "v"}, {"k": "v"})


def test_main_is_a_session_like_any_other_but_for_its_place_and_name() -> None:
    session = main()
    assert (session.display_name, session.is_main, session.state) == ("main", True, SessionState.ACTIVE)


# ── Limits ────────────────────────────────────────────────────────────────────────────────────────────────────────


def details(count: int, key: str = "k", value: str = "v") -> Mapping[str, str]:
    return {f"{key}{n}" if count > 1 else key: value for n in range(count)}


@pytest.mark.parametrize(
    "wanted",
    [
        NewSession(display_name="x"),
        NewSession(display_name="x" * DISPLAY_NAME_LENGTH_MAX),
        NewSession(display_name="6ba7b810"),
        NewSession(data_source="x" * TEXT_LENGTH_MAX),
        NewSession(type="x" * TEXT_LENGTH_MAX),
        NewSession(utc_offset=UTC_OFFSET_MAX),
        NewSession(utc_offset=-UTC_OFFSET_MAX),
        NewSession(details=details(DETAILS_MAX)),
        NewSession(details=details(1, "k" * TEXT_LENGTH_MAX, "v" * DETAIL_VALUE_LENGTH_MAX)),
        NewSession(details=details(1, value="")),
        NewSession(required_labels=details(REQUIRED_LABELS_MAX, value="v" * LABEL_VALUE_LENGTH_MAX)),
    ],
)
def test_what_reaches_a_limit_is_accepted(wanted: NewSession) -> None:
    assert create(wanted, TENANT, "ann", NOW).created


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        (NewSession(display_name=""), ("displayName",)),
        (NewSession(display_name=" \t\n"), ("displayName",)),
        (NewSession(display_name="x" * (DISPLAY_NAME_LENGTH_MAX + 1)), ("displayName",)),
        (NewSession(data_source=""), ("dataSource",)),
        (NewSession(data_source="x" * (TEXT_LENGTH_MAX + 1)), ("dataSource",)),
        (NewSession(type=""), ("type",)),
        (NewSession(type="x" * (TEXT_LENGTH_MAX + 1)), ("type",)),
        (NewSession(version=0), ("version",)),
        (NewSession(version=VERSION_MAX + 1), ("version",)),
        (NewSession(utc_offset=UTC_OFFSET_MAX + timedelta(microseconds=1)), ("utcOffset",)),
        (NewSession(utc_offset=-UTC_OFFSET_MAX - timedelta(microseconds=1)), ("utcOffset",)),
        (NewSession(details=details(DETAILS_MAX + 1)), ("details",)),
        (NewSession(details={"a": "b", "": "v"}), ("details", "1", "key")),
        (NewSession(details=details(1, "k" * (TEXT_LENGTH_MAX + 1))), ("details", "0", "key")),
        (NewSession(details=details(1, value="v" * (DETAIL_VALUE_LENGTH_MAX + 1))), ("details", "0", "value")),
        (NewSession(required_labels=details(REQUIRED_LABELS_MAX + 1)), ("requiredLabels",)),
        (NewSession(required_labels={"": "v"}), ("requiredLabels", "0", "key")),
        (NewSession(required_labels=details(1, "k" * (LABEL_KEY_LENGTH_MAX + 1))), ("requiredLabels", "0", "key")),
    ],
)
def test_what_is_beyond_a_limit_is_refused_by_the_name_of_its_field(wanted: NewSession, path: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInput) as refused:
        create(wanted, TENANT, "ann", NOW)
    assert refused.value.path == path
    assert refused.value.limit is not None
    assert len(refused.value.message) < 200


@given(st.uuids(), st.sampled_from(["{}", "{{{}}}", "urn:uuid:{}"]), st.booleans(), st.booleans())
def test_a_name_that_reads_as_an_id_is_refused(key: UUID, form: str, is_plain: bool, is_upper: bool) -> None:
    text = key.hex if is_plain else str(key)
    with pytest.raises(InvalidInput) as refused:
        created(NewSession(display_name=form.format(text.upper() if is_upper else text)))
    assert refused.value.path == ("displayName",)


# ── Changes ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_change_of_what_is_required_raises_the_revision_and_is_told_once() -> None:
    session = created(NewSession(required_labels={"zone": "eu"}))
    change = update(session, SessionPatch(required_labels={"gpu": "yes"}), actor="bob", now=LATER, expected_revision=1)
    assert change.updated == (replace(session, required_labels={"gpu": "yes"}, revision=2, **worked_on(LATER)),)
    (event,) = change.events
    assert (event.type, event.actor) == (SessionEventType.SESSION_UPDATED, "bob")
    for nothing_new in (None, {"zone": "eu"}):
        assert update(session, SessionPatch(required_labels=nothing_new), actor="bob", now=LATER) == SessionChange()


def test_a_change_on_another_revision_beyond_a_limit_or_after_the_end_is_refused() -> None:
    session = created(NewSession())
    with pytest.raises(RevisionConflict):
        update(session, SessionPatch(required_labels={"a": "b"}), actor="bob", now=LATER, expected_revision=2)
    with pytest.raises(InvalidInput) as refused:
        check_patch(SessionPatch(required_labels=details(REQUIRED_LABELS_MAX + 1)))
    assert refused.value.path == ("requiredLabels",)
    with pytest.raises(IllegalState):
        update(ended(session), SessionPatch(required_labels={}), actor="bob", now=LATER)


# ── The end ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_end_is_told_once_by_whoever_ended_it() -> None:
    session = created(NewSession(display_name="a", data_source="trains"))
    change = end(session, actor="bob", now=LATER)
    expected = replace(
        session, state=SessionState.ENDED, revision=2, updated_at=LATER, ended_at=LATER, stopped_at=LATER
    )
    assert (change.created, change.updated) == ((), (expected,))
    (event,) = change.events
    assert (event.type, event.actor) == (SessionEventType.SESSION_ENDED, "bob")
    assert (event.occurred_at, event.data_source) == (LATER, "trains")


def test_a_second_end_changes_and_announces_nothing_whatever_revision_is_expected() -> None:
    session = ended(created(NewSession()))
    for expected_revision in (None, 1, 2, 9):
        again = end(session, actor="eve", now=LATER + timedelta(hours=1), expected_revision=expected_revision)
        assert again == SessionChange()


def test_an_end_under_another_data_source_is_refused_the_second_one_too() -> None:
    session = created(NewSession(data_source="trains"))
    for each in (session, ended(session)):
        with pytest.raises(InvalidInput) as refused:
            end(each, actor="bob", now=LATER, data_source="planes")
        assert refused.value.path == ("dataSource",)
    with pytest.raises(InvalidInput):
        end(created(NewSession()), actor="bob", now=LATER, data_source="trains")
    assert end(session, actor="bob", now=LATER, data_source="trains").updated


@pytest.mark.parametrize("expected_revision", [0, 2])
def test_an_end_of_another_revision_is_refused_with_the_current_one(expected_revision: int) -> None:
    session = created(NewSession())
    with pytest.raises(RevisionConflict) as refused:
        end(session, actor="bob", now=LATER, expected_revision=expected_revision)
    assert refused.value.current_revision == 1
    assert end(session, actor="bob", now=LATER, expected_revision=1).updated


def test_names_of_former_main_sessions_cannot_be_taken() -> None:
    with pytest.raises(InvalidInput) as refused:
        create(NewSession(display_name=f"main-{uuid4()}"), TENANT, "ann", LATER)
    assert refused.value.path == ("displayName",)


def test_metadata_beyond_its_limit_is_refused_with_the_limit() -> None:
    with pytest.raises(InvalidInput) as refused:
        create(NewSession(metadata={"text": "x" * METADATA_BYTES_MAX}), TENANT, "ann", LATER)
    assert (refused.value.path, refused.value.limit) == (("metadata",), f"{METADATA_BYTES_MAX} bytes")


# ── The main session's succession ─────────────────────────────────────────────────────────────────────────────────


def test_an_ended_main_gives_its_place_and_name_to_a_new_session_of_its_owner() -> None:
    session = main()
    change = end(session, actor="bob", now=LATER)
    (retired,), (successor,) = change.updated, change.created
    assert (retired.id, retired.is_main, retired.state) == (session.id, False, SessionState.ENDED)
    assert retired.display_name == f"main-{session.id}"
    assert (successor.display_name, successor.is_main, successor.state) == ("main", True, SessionState.ACTIVE)
    assert (successor.tenant_id, successor.owner_id, successor.created_at) == (TENANT, "ann", LATER)
    assert successor.id != session.id
    told = [(event.session_id, event.type) for event in change.events]
    assert told == [
        (session.id, SessionEventType.SESSION_ENDED),
        (successor.id, SessionEventType.SESSION_STARTED),
    ]


def test_a_former_main_ends_once_and_leaves_no_second_successor() -> None:
    assert end(ended(main()), actor="bob", now=LATER) == SessionChange()


# ── The lifecycle ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_lifecycle_is_this_table() -> None:
    active, ended, expired, deleted = SessionState
    following = {
        active: {ended, expired, deleted},
        ended: {deleted},
        expired: {active, deleted},
        deleted: {active, ended, expired},
    }
    assert following == TRANSITIONS


def test_only_an_active_session_takes_new_work() -> None:
    session = created(NewSession())
    require_active(session)
    with pytest.raises(IllegalState) as refused:
        require_active(ended(session), ("sessionId",))
    assert (refused.value.state, refused.value.path) == (SessionState.ENDED, ("sessionId",))
