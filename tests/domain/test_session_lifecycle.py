"""The lifecycle of sessions: what ends, expires, revives, deletes and restores one, who follows main."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subgraph.domain import journal
from subgraph.domain.errors import IllegalState, InvalidInput, NotFound, RevisionConflict, SessionExpired
from subgraph.domain.expiry import TTL_MAX, ExpiryPolicy, SessionDefaults
from subgraph.domain.ids import TenantId
from subgraph.domain.journal import SessionEventType
from subgraph.domain.new_session import NewSession
from subgraph.domain.sessions import (
    TRANSITIONS,
    Session,
    SessionChange,
    SessionPatch,
    SessionState,
    as_of,
    create,
    create_main,
    delete,
    end,
    expire,
    extend,
    purge,
    rename,
    require_active,
    restore,
    update,
)

TENANT = TenantId("tenant")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ACTIVE, ENDED, EXPIRED, DELETED = SessionState
T = SessionEventType


def made(policy: ExpiryPolicy = ExpiryPolicy.SLIDING, ttl: timedelta | None = HOUR) -> Session:
    wanted = NewSession(display_name="a", data_source="trains", expiry_policy=policy, ttl=ttl)
    return create(wanted, TENANT, "ann", NOW).created[0]


def main() -> Session:
    return create_main(TENANT, "ann", NOW).created[0]


def after(change: SessionChange) -> Session:
    (session,) = change.updated
    return session


def types(change: SessionChange) -> list[SessionEventType]:
    return [event.type for event in change.events]


def in_state(state: SessionState) -> Session:
    """A session in a state, an hour after it was made."""
    session = made(ttl=2 * HOUR)
    match state:
        case SessionState.ENDED:
            return after(end(session, actor="bob", now=NOW + HOUR))
        case SessionState.EXPIRED:
            return after(expire(made(), NOW + HOUR))
        case SessionState.DELETED:
            return after(delete(session, actor="bob", now=NOW + HOUR))
    return session


# ── Expiry ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.requirement("TTL (default 720 h), per session. Policy SLIDING (default")
@pytest.mark.parametrize(
    ("policy", "ttl", "expires_at"),
    [
        (ExpiryPolicy.SLIDING, None, NOW + timedelta(hours=720)),
        (ExpiryPolicy.SLIDING, HOUR, NOW + HOUR),
        (ExpiryPolicy.FIXED, HOUR, NOW + HOUR),
        (ExpiryPolicy.NEVER, None, None),
    ],
)
def test_a_session_expires_a_ttl_after_its_creation_or_never(
    policy: ExpiryPolicy, ttl: timedelta | None, expires_at: datetime | None
) -> None:
    assert made(policy, ttl).expires_at == expires_at
    assert NewSession().expiry_policy is ExpiryPolicy.SLIDING


@pytest.mark.requirement("A tenant always has a `main`: made on its first contact")
def test_main_never_expires() -> None:
    assert main().expires_at is None
    assert as_of(main(), NOW + TTL_MAX * 2).state is ACTIVE


@pytest.mark.parametrize(
    ("policy", "expires_at"), [(ExpiryPolicy.SLIDING, NOW + HOUR * 1.5), (ExpiryPolicy.FIXED, NOW + HOUR)]
)
def test_activity_renews_only_what_slides(policy: ExpiryPolicy, expires_at: datetime) -> None:
    later = NOW + HOUR / 2
    worked = after(update(made(policy), SessionPatch(version=2), actor="bob", now=later))
    assert (worked.expires_at, worked.last_active_at) == (expires_at, later)


def test_a_session_is_expired_from_the_moment_its_time_has_run_out() -> None:
    session = made()
    assert as_of(session, NOW + HOUR - timedelta(microseconds=1)) is session
    assert as_of(session, NOW + HOUR) == replace(session, state=EXPIRED)
    assert expire(session, NOW + HOUR / 2) == SessionChange()
    change = expire(session, NOW + 2 * HOUR)
    assert (after(change).state, after(change).stopped_at, after(change).revision) == (EXPIRED, NOW + HOUR, 2)
    assert [(event.type, event.actor) for event in change.events] == [(T.SESSION_EXPIRED, None)]
    assert expire(after(change), NOW + 3 * HOUR) == SessionChange()


@pytest.mark.requirement("TTL (default 720 h), per session. Policy SLIDING (default")
def test_ended_sessions_do_not_expire() -> None:
    ended = in_state(ENDED)
    assert as_of(ended, NOW + TTL_MAX).state is ENDED
    assert expire(ended, NOW + TTL_MAX) == SessionChange()


def test_an_expired_session_takes_no_work_and_says_since_when() -> None:
    session = made()
    attempts: tuple[Callable[[datetime], SessionChange], ...] = (
        lambda now: update(session, SessionPatch(version=2), actor="bob", now=now),
        lambda now: rename(session, "b", actor="bob", now=now),
        lambda now: end(session, actor="bob", now=now),
    )
    for attempt in attempts:
        with pytest.raises(SessionExpired) as refused:
            attempt(NOW + 2 * HOUR)
        assert refused.value.expired_at == NOW + HOUR


# ── Extension and revival ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.requirement("TTL (default 720 h), per session. Policy SLIDING (default")
@pytest.mark.parametrize("policy", [ExpiryPolicy.SLIDING, ExpiryPolicy.FIXED])
def test_extension_sets_the_expiry_to_now_plus_ttl(policy: ExpiryPolicy) -> None:
    change = extend(made(policy), 5 * HOUR, actor="bob", now=NOW + HOUR / 2)
    assert (after(change).expires_at, after(change).ttl) == (NOW + HOUR * 5.5, 5 * HOUR)
    assert types(change) == [T.SESSION_EXTENDED]
    assert not any(map(journal.starts, change.events))


@pytest.mark.requirement("TTL (default 720 h), per session. Policy SLIDING (default")
def test_a_revived_session_is_announced_as_a_start_and_its_later_stop_again() -> None:
    expired = in_state(EXPIRED)
    revival = extend(expired, HOUR, actor="bob", now=NOW + 3 * HOUR)
    revived = after(revival)
    assert (revived.state, revived.stopped_at, revived.expires_at) == (ACTIVE, None, NOW + 4 * HOUR)
    assert [journal.starts(event) for event in revival.events] == [True]
    stop = end(revived, actor="bob", now=NOW + HOUR * 3.5)
    assert [journal.stops(event) for event in stop.events] == [True]


def test_a_revival_that_comes_before_the_sweep_tells_of_the_expiry_first() -> None:
    change = extend(made(), HOUR, actor="bob", now=NOW + 2 * HOUR)
    assert types(change) == [T.SESSION_EXPIRED, T.SESSION_REVIVED]
    assert after(change).revision == 2


def test_what_ended_never_expires_or_is_given_another_revision_is_not_extended() -> None:
    with pytest.raises(IllegalState):
        extend(in_state(ENDED), HOUR, actor="bob", now=NOW)
    with pytest.raises(IllegalState):
        extend(main(), HOUR, actor="bob", now=NOW)
    with pytest.raises(NotFound):
        extend(in_state(DELETED), HOUR, actor="bob", now=NOW)
    with pytest.raises(RevisionConflict):
        extend(made(), HOUR, actor="bob", now=NOW, expected_revision=2)
    for ttl in (timedelta(), -HOUR, TTL_MAX + HOUR):
        with pytest.raises(InvalidInput, match="ttl must lie between"):
            extend(made(), ttl, actor="bob", now=NOW)


# ── Deletion and restoration ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.requirement("Soft delete (deletedAt, deletedBy, partial index)")
def test_a_deletion_says_when_and_by_whom_and_is_told_once() -> None:
    change = delete(made(), actor="bob", now=NOW)
    deleted = after(change)
    assert (deleted.state, deleted.deleted_at, deleted.deleted_by, deleted.stopped_at) == (DELETED, NOW, "bob", NOW)
    assert types(change) == [T.SESSION_DELETED]
    assert delete(deleted, actor="bob", now=NOW + HOUR) == SessionChange()


@pytest.mark.requirement("Start and stop notifications: per exact data source")
@pytest.mark.parametrize(("state", "stops"), [(ACTIVE, 1), (ENDED, 0), (EXPIRED, 0)])
def test_a_deletion_is_a_stop_only_of_what_had_not_stopped(state: SessionState, stops: int) -> None:
    for decision in (delete, purge):
        events = decision(in_state(state), actor="bob", now=NOW + HOUR).events
        assert sum(map(journal.stops, events)) == stops


@pytest.mark.requirement("Start and stop notifications: per exact data source")
def test_a_deletion_after_an_expiry_that_nobody_wrote_tells_one_stop() -> None:
    change = delete(made(), actor="bob", now=NOW + 2 * HOUR)
    assert types(change) == [T.SESSION_EXPIRED, T.SESSION_DELETED]
    assert sum(map(journal.stops, change.events)) == 1


@pytest.mark.requirement("Delete cascades through scenarios, runs, KPIs, datasets")
@pytest.mark.parametrize(("state", "is_start"), [(ACTIVE, True), (ENDED, False), (EXPIRED, False)])
def test_a_restored_session_is_what_it_was(state: SessionState, is_start: bool) -> None:
    deleted = after(delete(in_state(state), actor="bob", now=NOW + HOUR))
    change = restore(deleted, actor="cid", now=NOW + HOUR * 1.5)
    restored = after(change)
    assert (restored.state, restored.deleted_at, restored.deleted_by) == (state, None, None)
    assert [journal.starts(event) for event in change.events] == [is_start]
    # Its retention begins anew: it is not removed by the next sweep.
    assert restored.stopped_at == (None if state is ACTIVE else NOW + HOUR * 1.5)


@pytest.mark.parametrize(("policy", "state"), [(ExpiryPolicy.SLIDING, ACTIVE), (ExpiryPolicy.FIXED, EXPIRED)])
def test_only_fixed_time_runs_out_while_a_session_is_deleted(policy: ExpiryPolicy, state: SessionState) -> None:
    deleted = after(delete(made(policy), actor="bob", now=NOW + HOUR / 2))
    restored = after(restore(deleted, actor="bob", now=NOW + 10 * HOUR))
    assert restored.state is state
    assert restored.expires_at == (NOW + 11 * HOUR if state is ACTIVE else NOW + HOUR)


@pytest.mark.requirement("Delete cascades through scenarios, runs, KPIs, datasets")
def test_a_restored_session_may_bring_another_name() -> None:
    restored = after(restore(in_state(DELETED), actor="bob", now=NOW + HOUR, display_name="  b "))
    assert restored.display_name == "b"
    with pytest.raises(InvalidInput):
        restore(in_state(DELETED), actor="bob", now=NOW + HOUR, display_name=" ")
    with pytest.raises(IllegalState):
        restore(made(), actor="bob", now=NOW)


# ── Main ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.requirement("A tenant always has a `main`: made on its first contact")
@pytest.mark.parametrize("decision", [end, delete, purge])
def test_a_main_that_goes_is_followed_by_another_in_the_same_change(decision: Callable[..., SessionChange]) -> None:
    former = main()
    change = decision(former, actor="bob", now=NOW + HOUR)
    (successor,) = change.created
    assert (successor.is_main, successor.display_name, successor.expires_at) == (True, "main", None)
    assert all(not session.is_main for session in change.updated)
    assert types(change)[-1] is T.SESSION_STARTED


@pytest.mark.parametrize("decision", [end, delete, purge])
def test_who_had_main_stop_began_its_successor_which_stays_its_owners(decision: Callable[..., SessionChange]) -> None:
    change = decision(main(), actor="bob", now=NOW + HOUR)
    (successor,), started = change.created, change.events[-1]
    assert (successor.owner_id, started.owner_id) == ("ann", "ann")
    assert (started.session_id, started.actor) == (successor.id, "bob")


@pytest.mark.requirement("A tenant always has a `main`: made on its first contact")
def test_a_restored_former_main_is_an_ordinary_session() -> None:
    former = after(delete(main(), actor="bob", now=NOW))
    restored = after(restore(former, actor="bob", now=NOW + HOUR))
    assert (restored.is_main, restored.state) == (False, ACTIVE)
    assert delete(restored, actor="bob", now=NOW + HOUR).created == ()


@pytest.mark.requirement("A tenant always has a `main`: made on its first contact")
@pytest.mark.parametrize("decision", [end, delete])
def test_a_former_main_lives_by_the_defaults_of_ordinary_sessions(decision: Callable[..., SessionChange]) -> None:
    former = after(decision(main(), actor="bob", now=NOW, defaults=SessionDefaults(ttl=HOUR)))
    assert (former.expiry_policy, former.ttl, former.expires_at) == (ExpiryPolicy.SLIDING, HOUR, NOW + HOUR)


def test_the_time_of_a_restored_former_main_starts_anew_and_can_be_extended() -> None:
    former = after(delete(main(), actor="bob", now=NOW, defaults=SessionDefaults(ttl=HOUR)))
    restored = after(restore(former, actor="bob", now=NOW + 5 * HOUR))
    assert (restored.state, restored.expires_at) == (ACTIVE, NOW + 6 * HOUR)
    extended = after(extend(restored, 3 * HOUR, actor="bob", now=NOW + 5 * HOUR))
    assert (extended.ttl, extended.expires_at) == (3 * HOUR, NOW + 8 * HOUR)


# ── The table ─────────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.lists(st.sampled_from(["end", "expire", "extend", "delete", "restore", "update"]), max_size=12))
def test_whatever_is_done_the_table_is_kept_and_starts_and_stops_take_turns(steps: list[str]) -> None:
    session, now, is_started = made(), NOW, True
    for step in steps:
        now += HOUR * 2 if step == "expire" else HOUR / 4
        before = as_of(session, now)
        try:
            change = {
                "end": lambda: end(session, actor="bob", now=now),  # noqa: B023
                "expire": lambda: expire(session, now),  # noqa: B023
                "extend": lambda: extend(session, HOUR, actor="bob", now=now),  # noqa: B023
                "delete": lambda: delete(session, actor="bob", now=now),  # noqa: B023
                "restore": lambda: restore(session, actor="bob", now=now),  # noqa: B023
                "update": lambda: update(session, SessionPatch(version=2), actor="bob", now=now),  # noqa: B023
            }[step]()
        except (IllegalState, SessionExpired, NotFound):
            continue
        if not change.updated:
            continue
        assert after(change).revision == session.revision + 1
        session = after(change)
        assert session.state is before.state or session.state in TRANSITIONS[before.state]
        assert (session.stopped_at is None) == (session.state is ACTIVE)
        for event in change.events:
            if journal.starts(event) or journal.stops(event):
                assert journal.starts(event) != is_started
                is_started = not is_started
    assert is_started == (session.state is ACTIVE)


def test_work_is_for_active_sessions_only() -> None:
    failures = {ENDED: IllegalState, EXPIRED: SessionExpired, DELETED: NotFound}
    require_active(made())
    for state, attempt in product(failures, (require_active,)):
        with pytest.raises(failures[state]):
            attempt(in_state(state), ("id",))
