"""Titles: by hand, from a provider, from a query's first line; one that is there stays, but for a user's."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subgraph.domain.errors import InvalidInput
from subgraph.domain.ids import TenantId
from subgraph.domain.journal import SessionEventType
from subgraph.domain.new_session import NewSession
from subgraph.domain.sessions import SessionChange, create
from subgraph.domain.sessions.titles import (
    QUERY_LENGTH_MAX,
    TITLE_LENGTH_MAX,
    TitleSource,
    entitle,
    title_by_hand,
    title_of_query,
    title_provided,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LINE = "Title: skip if there is one; from a title provider if one"


@pytest.mark.requirement(LINE)
@pytest.mark.parametrize(
    ("query", "title"),
    [
        ("This is a very long query that exceeds the limit", "This is a very long query that exceeds..."),
        ("supercalifragilisticexpialidociousandmoreletters", "supercalifragilisticexpialidociousandmor..."),
        ("First line\nsecond", "First line"),
        ("  \n\t\n  trimmed \r\nsecond", "trimmed"),
        ("x" * 40, "x" * 40),
        ("x" * 41, "x" * 40 + "..."),
        # The last space counts only beyond index 20.
        ("x" * 20 + " " + "y" * 30, "x" * 20 + " " + "y" * 19 + "..."),
        ("x" * 21 + " " + "y" * 30, "x" * 21 + "..."),
        ("\u96ea" * 50, "\u96ea" * 40 + "..."),
        ("\ufeffa\u200bb\x07c", "abc"),
    ],
)
def test_a_title_of_a_query_is_the_beginning_of_its_first_line(query: str, title: str) -> None:
    assert title_of_query(query) == title


@pytest.mark.parametrize("query", ["", " \n ", "\u200b", "x" * (QUERY_LENGTH_MAX + 1)])
def test_no_title_is_made_of_nothing_or_of_too_much(query: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        title_of_query(query)
    assert refused.value.path == ("query",)


@pytest.mark.requirement(LINE)
@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("A title", "A title"),
        ("x" * 60, "x" * 60),
        ("x" * 61, "x" * 57 + "..."),
        ("x" * 200, "x" * 57 + "..."),
        ("x" * 201, None),
        ("\u96ea" * 67, None),
        ("", None),
        (" \n", None),
        ("[Incomplete response: half", None),
        ("over the token limit", None),
        ("it was truncated", None),
    ],
)
def test_a_providers_title_is_cut_to_its_length_or_rejected(text: str, title: str | None) -> None:
    assert title_provided(text) == title


@pytest.mark.requirement(LINE)
@pytest.mark.parametrize(
    ("text", "title"), [("  Mine\n", "Mine"), ("a\u200bb\ufeff\x00c\x7f", "abc"), ("\u96ea" * 60, "\u96ea" * 60)]
)
def test_a_title_by_hand_is_trimmed_and_keeps_only_what_can_be_seen(text: str, title: str) -> None:
    assert title_by_hand(text) == title


@pytest.mark.parametrize(
    ("text", "limit"),
    [("", "1 character"), ("  ", "1 character"), ("\u200b\ufeff\x00", "1 character"), ("x" * 61, "60 characters")],
)
def test_a_title_by_hand_has_1_to_60_characters(text: str, limit: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        title_by_hand(text)
    assert (refused.value.path, refused.value.limit) == (("title",), limit)


@given(st.text(max_size=300))
def test_no_title_is_longer_than_it_may_be(text: str) -> None:
    for make in (title_by_hand, title_provided, title_of_query):
        try:
            title = make(text)
        except InvalidInput:
            continue
        assert title is None or 1 <= len(title) <= TITLE_LENGTH_MAX


@pytest.mark.requirement(LINE)
def test_a_title_that_is_there_stays_but_for_a_users() -> None:
    (session,) = create(NewSession(), TenantId("tenant"), "ann", NOW).created

    def given_a(title: str, source: TitleSource) -> SessionChange:
        return entitle(session, title, source, actor="bob", now=NOW)

    (session,) = given_a("first", TitleSource.FALLBACK).updated
    assert given_a("second", TitleSource.PROVIDER) == given_a("first", TitleSource.USER) == SessionChange()
    change = given_a("mine", TitleSource.USER)
    assert [event.type for event in change.events] == [SessionEventType.SESSION_TITLED]
    assert change.updated[0].title == "mine"
