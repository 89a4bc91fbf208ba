"""Traces of an owner: what counts as one, and what is put in its place."""

import msgspec
import pytest

from subgraph.domain.erasure import ERASED, Traces, check_owner_id
from subgraph.domain.errors import InvalidInput
from subgraph.domain.event_types import SessionEventType, check_payload

SESSION = "0b7f8f0e-8c0f-4d57-9d8a-3a1f6f2f6a01"
OTHER = "0b7f8f0e-8c0f-4d57-9d8a-3a1f6f2f6a02"
TRACES = Traces("ann", [SESSION])


@pytest.mark.parametrize("text", [SESSION, f"main-{SESSION}", f'{{"a":["{SESSION}"]}}', f"{SESSION}:841e9adffffffff"])
def test_the_id_of_a_session_is_found_wherever_it_stands(text: str) -> None:
    assert TRACES.of_sessions(text)
    assert not TRACES.of_sessions(text.replace(SESSION, OTHER))
    assert TRACES.erased_from(text) == text.replace(SESSION, ERASED)


def test_an_id_that_is_no_uuid_is_found_as_well() -> None:
    traces = Traces("ann", ["session-1", SESSION])
    assert traces.of_sessions("of session-1")
    assert traces.erased_from(f"session-1 {SESSION}") == f"{ERASED} {ERASED}"


def test_the_id_of_an_owner_counts_where_it_is_a_whole_text() -> None:
    assert TRACES.of_owner("ann")
    assert TRACES.of_owner('{"by":"ann"}')
    assert not TRACES.of_owner("anna")
    assert not TRACES.of_owner('{"by":"ann of acme"}')
    assert TRACES.of_owner_in_bytes(b"B1|" + msgspec.msgpack.encode({"owner_id": "ann"}))
    assert not TRACES.of_owner_in_bytes(b"B1|" + msgspec.msgpack.encode({"owner_id": "anna"}))


def test_of_several_texts_one_is_enough_and_the_owner_counts_only_where_it_is_said_to() -> None:
    assert TRACES.in_texts(["a", "ann"], owner_counts=True)
    assert TRACES.in_texts(["a", '{"by":"ann"}'], owner_counts=True)
    assert not TRACES.in_texts(["a", "ann", '{"by":"ann"}'], owner_counts=False)
    assert TRACES.in_texts(["a", f"of {SESSION}"], owner_counts=False)
    assert not TRACES.in_texts(["an", "n", OTHER], owner_counts=True)


def test_an_owner_is_taken_out_of_json_and_the_rest_stays() -> None:
    assert TRACES.erased_from("ann") == ERASED
    assert TRACES.erased_from('{"by":"ann","of":"anna"}') == f'{{"by":"{ERASED}","of":"anna"}}'


@pytest.mark.parametrize(
    "owner_id", ["ACTIVE", "formerState", "state", "fields", "details", "keys", "USER", "to", "tiles"]
)
def test_what_the_journal_says_itself_stays_whoever_is_called_like_it(owner_id: str) -> None:
    traces = Traces(owner_id, [SESSION])
    for event_type, payload in (
        ("SESSION_DELETED", {"formerState": "ACTIVE"}),
        ("SESSION_RESTORED", {"state": "ACTIVE"}),
        ("SESSION_UPDATED", {"fields": ["details", "state", "keys"]}),
        ("SESSION_TITLED", {"title": "a title", "source": "USER"}),
        ("SESSION_RENAMED", {"from": "x", "to": "y"}),
        ("CONTEXT_UPDATED", {"count": 1, "keys": ["a key"]}),
        ("TILES_REASSIGNED", {"count": 1, "tiles": [{"tileId": f"{OTHER}:84", "from": None, "to": "state"}]}),
    ):
        assert traces.erased_from_payload(event_type, payload) == payload


@pytest.mark.parametrize(
    ("event_type", "payload", "left"),
    [
        ("SESSION_ASSOCIATED", {"associateIds": [SESSION, OTHER]}, {"associateIds": [ERASED, OTHER]}),
        ("SESSION_DISSOCIATED", {"parentId": SESSION}, {"parentId": ERASED}),
        ("SESSION_COPIED", {"sourceId": SESSION, "include": ["TILES"]}, {"sourceId": ERASED, "include": ["TILES"]}),
        ("SESSION_STARTED", {"importedFrom": {"sessionId": SESSION}}, {"importedFrom": {"sessionId": ERASED}}),
        ("SESSION_RENAMED", {"from": "ann", "to": f"main-{SESSION}"}, {"from": ERASED, "to": f"main-{ERASED}"}),
        ("SESSION_TITLED", {"title": "ann", "source": "USER"}, {"title": ERASED, "source": "USER"}),
        ("SESSION_TITLED", {"title": "of ann", "source": "USER"}, {"title": "of ann", "source": "USER"}),
        ("CONTEXT_UPDATED", {"count": 2, "keys": ["ann", "anna"]}, {"count": 2, "keys": [ERASED, "anna"]}),
        ("TO_COME", {"ann": ["ann", {"by": "ann"}, 1, None]}, {"ann": [ERASED, {"by": ERASED}, 1, None]}),
    ],
)
def test_whom_a_payload_names_is_taken_out_of_its_values(
    event_type: str, payload: dict[str, object], left: dict[str, object]
) -> None:
    assert TRACES.erased_from_payload(event_type, payload) == left


def test_no_event_is_told_with_a_field_of_which_nobody_said_whom_it_names() -> None:
    with pytest.raises(ValueError, match="SESSION_ENDED has no payload's fields"):
        check_payload(SessionEventType.SESSION_ENDED, {"by": "ann"})
    with pytest.raises(ValueError, match="'by'"):
        check_payload(SessionEventType.SESSION_TITLED, {"title": "t", "by": "ann"})


@pytest.mark.parametrize("owner_id", ["", "x" * 1_001, ERASED])
def test_what_is_nobodys_id_is_refused(owner_id: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_owner_id(owner_id)
    assert refused.value.path == ("ownerId",)
