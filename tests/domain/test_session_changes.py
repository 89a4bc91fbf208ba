"""Changes of running sessions: merged key by key, cleared by nothing but an explicit removal, told only if any."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from subgraph.domain.errors import IllegalState, InvalidInput, RevisionConflict
from subgraph.domain.expiry import ExpiryPolicy
from subgraph.domain.ids import TenantId
from subgraph.domain.journal import SessionEventType, changes_labels
from subgraph.domain.new_session import CONTEXT_BYTES_MAX, DETAILS_MAX, NewSession
from subgraph.domain.sessions import (
    Session,
    SessionChange,
    SessionPatch,
    check_patch,
    create,
    create_main,
    end,
    rename,
    touch,
    update,
)
from subgraph.domain.sessions.changes import KEY_TOLD_LENGTH_MAX, KEYS_TOLD_MAX
from subgraph.domain.sessions.patch import REMOVED_CONTEXT_MAX, REMOVED_DETAILS_MAX, REMOVED_FIELDS_MAX, RemovableField

TENANT = TenantId("tenant")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
T = SessionEventType


def made(**wanted: Any) -> Session:
    return create(replace(NewSession(display_name="a"), **wanted), TENANT, "ann", NOW).created[0]


def patched(session: Session, **fields: Any) -> SessionChange:
    patch = replace(SessionPatch(), **fields)
    check_patch(patch)
    return update(session, patch, actor="bob", now=LATER)


@pytest.mark.requirement("Details merge key by key while the session runs")
@pytest.mark.parametrize(
    ("given", "removed", "kept"),
    [
        ({"b": "2"}, (), {"a": "1", "b": "2"}),
        ({"a": "9"}, (), {"a": "9"}),
        ({"a": "", "b": ""}, (), {"a": "1"}),
        ({}, ("a",), {}),
        ({"b": "2"}, ("a", "never there"), {"b": "2"}),
    ],
)
def test_details_merge_key_by_key_and_only_removal_clears(
    given: dict[str, str], removed: tuple[str, ...], kept: dict[str, str]
) -> None:
    session = made(details={"a": "1"})
    change = patched(session, details=given, remove_details=removed)
    (after,) = change.updated or (session,)
    assert after.details == kept


@pytest.mark.requirement("Details merge key by key while the session runs")
def test_no_empty_value_clears_anything() -> None:
    session = made(details={"a": "1"}, data_source="trains", external_id="mine", context={"k": 1}, metadata={"m": 1})
    assert patched(session, details={"a": ""}, data_source="", external_id="", type="", context={}) == SessionChange()


@pytest.mark.requirement("Details merge key by key while the session runs")
def test_details_of_a_session_that_has_ended_stay() -> None:
    (ended,) = end(made(), actor="bob", now=NOW).updated
    with pytest.raises(IllegalState):
        patched(ended, details={"a": "1"})


def test_nothing_is_told_when_nothing_changed() -> None:
    session = made(details={"a": "1"}, context={"k": [1]}, version=3, utc_offset=timedelta(hours=1))
    same: dict[str, Any] = {
        "details": {"a": "1"},
        "context": {"k": [1]},
        "version": 3,
        "utc_offset": timedelta(hours=1),
    }
    assert patched(session, **same, remove_details=("b",), remove_context=("b",)) == SessionChange()


def test_all_that_changed_is_told_of_by_name() -> None:
    change = patched(
        made(),
        external_id="mine",
        data_source="trains",
        type="Experiment",
        version=2,
        utc_offset=timedelta(hours=-5),
        metadata={"m": 1},
        details={"a": "1"},
        max_history=10,
        token_budget=1_000,
        required_labels={"zone": "eu"},
    )
    (event,) = change.events
    fields = [
        "externalId",
        "dataSource",
        "type",
        "version",
        "utcOffset",
        "metadata",
        "details",
        "maxHistory",
        "tokenBudget",
        "requiredLabels",
    ]
    assert (event.type, event.actor, event.payload) == (T.SESSION_UPDATED, "bob", {"fields": fields})
    (after,) = change.updated
    assert (after.external_id, after.max_history, after.token_budget, after.metadata) == ("mine", 10, 1_000, {"m": 1})


@pytest.mark.requirement("Details merge key by key while the session runs")
def test_a_field_that_a_session_need_not_have_is_taken_off_when_that_is_said_and_not_by_an_empty_value() -> None:
    session = made(external_id="mine", data_source="trains", token_budget=5, tick_interval=timedelta(seconds=5))
    assert patched(session, external_id="", data_source="") == SessionChange()
    change = patched(session, external_id="", version=2, remove_fields=tuple(RemovableField))
    (after,), (event,) = change.updated, change.events
    assert (after.external_id, after.data_source, after.token_budget, after.tick_interval) == (None,) * 4
    assert event.payload == {"fields": ["externalId", "dataSource", "version", "tokenBudget", "tickInterval"]}
    assert patched(after, remove_fields=tuple(RemovableField)) == SessionChange()


@pytest.mark.requirement("Context: key-value, merged")
def test_context_merges_key_by_key_and_tells_which_keys() -> None:
    session = made(context={"kept": 1, "changed": {"deep": 1}, "gone": 1})
    change = patched(session, context={"changed": {"other": 2}, "new": None}, remove_context=("gone",))
    (after,) = change.updated
    assert after.context == {"kept": 1, "changed": {"other": 2}, "new": None}
    (event,) = change.events
    assert (event.type, event.payload) == (T.CONTEXT_UPDATED, {"count": 3, "keys": ["changed", "gone", "new"]})


def test_of_a_context_that_changes_all_over_the_keys_are_counted_and_some_are_named() -> None:
    long = "k" * (KEY_TOLD_LENGTH_MAX + 1)
    context = {long: 1, **{f"k{number:05}": 1 for number in range(20_000)}}
    (event,) = patched(made(context={}), context=context).events
    assert event.payload == {"count": 20_001, "keys": [f"k{number:05}" for number in range(KEYS_TOLD_MAX)]}
    longest = {f"{number:03}" + "ä" * (KEY_TOLD_LENGTH_MAX - 3): number for number in range(200)}
    (event,) = patched(made(context={}), context=longest).events
    assert event.payload is not None
    assert len(json.dumps(event.payload, ensure_ascii=False).encode()) < 64_000


def test_an_update_may_extend_in_the_same_change() -> None:
    change = patched(made(), version=2, extend_ttl=timedelta(hours=5))
    (after,) = change.updated
    assert (after.revision, after.version, after.expires_at) == (2, 2, LATER + timedelta(hours=5))
    assert [event.type for event in change.events] == [T.SESSION_UPDATED, T.SESSION_EXTENDED]


@pytest.mark.parametrize(
    ("patch", "path"),
    [
        ({"details": {str(n): "x" for n in range(DETAILS_MAX + 1)}}, ("details",)),
        ({"details": {str(n): "" for n in range(DETAILS_MAX + 1)}}, ("details",)),
        ({"details": {"a": "x"}, "remove_details": ("a",)}, ("removeDetails", "0")),
        ({"remove_details": ("a",) * (REMOVED_DETAILS_MAX + 1)}, ("removeDetails",)),
        ({"remove_context": ("a",) * (REMOVED_CONTEXT_MAX + 1)}, ("removeContext",)),
        ({"context": {"a": "x" * CONTEXT_BYTES_MAX}}, ("context",)),
        ({"context": {"a": 1}, "remove_context": ("a",)}, ("removeContext", "0")),
        ({"token_budget": 5, "remove_fields": tuple(RemovableField)}, ("removeFields", "2")),
        ({"remove_fields": (RemovableField.EXTERNAL_ID,) * (REMOVED_FIELDS_MAX + 1)}, ("removeFields",)),
        ({"version": 0}, ("version",)),
        ({"utc_offset": timedelta(hours=19)}, ("utcOffset",)),
        ({"max_history": 0}, ("maxHistory",)),
        ({"token_budget": 0}, ("tokenBudget",)),
        ({"external_id": "x" * 201}, ("externalId",)),
        ({"external_id": "a\0b"}, ("externalId",)),
        ({"data_source": "a\nb"}, ("dataSource",)),
        ({"type": "a\x7fb"}, ("type",)),
        ({"details": {"a": "x", "b\n": "x"}}, ("details", "1", "key")),
        ({"details": {"a": "x\0"}}, ("details", "0", "value")),
        ({"metadata": {"deep": [{"\0": 1}]}}, ("metadata",)),
        ({"context": {"\x1b": 1}}, ("context",)),
        ({"required_labels": {"zone": "eu\n"}}, ("requiredLabels", "0", "value")),
        ({"extend_ttl": timedelta()}, ("extendTtl",)),
    ],
)
def test_what_is_beyond_a_limit_is_refused_by_name_without_a_session(
    patch: dict[str, Any], path: tuple[str, ...]
) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_patch(replace(SessionPatch(), **patch))
    assert refused.value.path == path


@pytest.mark.parametrize(
    ("before", "patch", "path"),
    [
        ({"details": {str(n): "x" for n in range(DETAILS_MAX)}}, {"details": {"a": "x"}}, ("details",)),
        ({"context": {"a": "x" * (CONTEXT_BYTES_MAX - 20)}}, {"context": {"b": "x" * 20}}, ("context",)),
    ],
)
def test_what_only_together_with_the_session_is_beyond_a_limit_is_refused_by_name(
    before: dict[str, Any], patch: dict[str, Any], path: tuple[str, ...]
) -> None:
    with pytest.raises(InvalidInput) as refused:
        patched(made(**before), **patch)
    assert refused.value.path == path


def test_an_extension_of_what_never_expires_is_refused_as_the_field_of_the_update() -> None:
    with pytest.raises(IllegalState) as refused:
        patched(made(expiry_policy=ExpiryPolicy.NEVER), extend_ttl=timedelta(hours=1))
    assert refused.value.path == ("extendTtl",)


class CountedKey(str):
    """A key that counts how often it is compared with another one."""

    comparisons = 0

    def __eq__(self, other: object) -> bool:
        CountedKey.comparisons += 1
        return str.__eq__(self, other) is True

    __hash__ = str.__hash__


@pytest.mark.parametrize("part", ["details", "context"])
def test_the_work_of_a_removal_grows_with_the_keys_and_not_with_their_product(part: str) -> None:
    session = made(**{part: {CountedKey(f"kept {n}"): "x" for n in range(100)}})
    removed = tuple(CountedKey(f"gone {n}") for n in range(100))
    CountedKey.comparisons = 0
    patched(session, **{f"remove_{part}": removed})
    assert CountedKey.comparisons <= 10 * (100 + 100)


@pytest.mark.requirement("id immutable, displayName mutable; renaming changes no id")
def test_renaming_changes_the_name_and_nothing_else() -> None:
    session = made()
    change = rename(session, " b ", actor="bob", now=LATER)
    (after,) = change.updated
    assert after == replace(
        session,
        display_name="b",
        revision=2,
        updated_at=LATER,
        last_active_at=LATER,
        expires_at=LATER + timedelta(hours=720),
    )
    (event,) = change.events
    assert (event.type, event.payload) == (T.SESSION_RENAMED, {"from": "a", "to": "b"})
    assert rename(after, "b", actor="bob", now=LATER) == SessionChange()


def test_names_that_look_like_ids_other_revisions_and_main_are_not_renamed() -> None:
    with pytest.raises(InvalidInput, match="UUID"):
        rename(made(), "6ba7b810-9dad-11d1-80b4-00c04fd430c8", actor="bob", now=LATER)
    with pytest.raises(RevisionConflict):
        rename(made(), "b", actor="bob", now=LATER, expected_revision=7)
    with pytest.raises(InvalidInput, match="main"):
        rename(create_main(TENANT, "ann", NOW).created[0], "b", actor="bob", now=LATER)


@pytest.mark.requirement("TTL (default 720 h), per session. Policy SLIDING (default")
@pytest.mark.parametrize(
    ("ttl", "after", "is_written"),
    [
        (timedelta(hours=720), timedelta(seconds=59), False),
        (timedelta(hours=720), timedelta(seconds=60), True),
        (timedelta(seconds=10), timedelta(milliseconds=999), False),
        (timedelta(seconds=10), timedelta(seconds=1), True),
    ],
)
def test_a_touch_renews_what_slides_and_touches_close_together_are_written_once(
    ttl: timedelta, after: timedelta, is_written: bool
) -> None:
    session = made(ttl=ttl)
    change = touch(session, actor="bob", now=NOW + after)
    assert bool(change.updated) == is_written
    if is_written:
        (touched,) = change.updated
        assert (touched.last_active_at, touched.expires_at) == (NOW + after, NOW + after + ttl)


def test_an_update_tells_of_labels_only_where_it_changes_them() -> None:
    (version,) = patched(made(), version=2).events
    (labels,) = patched(made(), version=2, required_labels={"gpu": "yes"}).events
    (same,) = patched(made(required_labels={"gpu": "yes"}), version=2, required_labels={"gpu": "yes"}).events
    assert [changes_labels(event) for event in (version, labels, same)] == [False, True, False]
