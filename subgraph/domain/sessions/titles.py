"""Owns titles: what one set by hand must be, which of a provider's are rejected, and how one is made of a query."""

import unicodedata
from dataclasses import replace
from datetime import datetime
from enum import StrEnum

from subgraph.domain.errors import InvalidInput
from subgraph.domain.journal import SessionEventType, event_of
from subgraph.domain.limits import check_length
from subgraph.domain.sessions.lifecycle import active, as_of, changed, check_revision, require_active
from subgraph.domain.sessions.record import Session, SessionChange

TITLE_LENGTH_MAX = 60
QUERY_LENGTH_MAX = 100_000

_ELLIPSIS = "..."
_PROVIDED_BYTES_MAX = 200
_NO_TITLE = ("[Incomplete response:", "token limit", "truncated")
"""What providers say when they give no title."""
_QUERY_CUT = 40
_WORD_CUT_MIN = 20
_INVISIBLE = frozenset("\u200b\ufeff")


class TitleSource(StrEnum):
    """Where a title came from."""

    PROVIDER = "PROVIDER"
    FALLBACK = "FALLBACK"
    EXISTING = "EXISTING"
    USER = "USER"


def title_by_hand(text: str) -> str:
    """A title as a user set it: trimmed, without control characters and what cannot be seen.

    Raises:
        InvalidInput: nothing is left, or more than a title may have.
    """
    title = _printable(text)
    check_length("a title", len(title), TITLE_LENGTH_MAX, ("title",))
    return title


def title_provided(text: str) -> str | None:
    """A provider's title, cut to its length; None if it is none."""
    if len(text.encode(errors="replace")) > _PROVIDED_BYTES_MAX or any(sign in text for sign in _NO_TITLE):
        return None
    title = _printable(text)
    if len(title) > TITLE_LENGTH_MAX:
        title = title[: TITLE_LENGTH_MAX - len(_ELLIPSIS)] + _ELLIPSIS
    return title or None


def title_of_query(query: str) -> str:
    """The beginning of a query's first line, cut at a word.

    Raises:
        InvalidInput: there is nothing to be seen in the query, or it is too long.
    """
    if len(query) > QUERY_LENGTH_MAX:
        limit = f"{QUERY_LENGTH_MAX} characters"
        raise InvalidInput(f"query has at most {QUERY_LENGTH_MAX:,} characters", ("query",), limit)
    lines = [line for line in map(_printable, query.expandtabs(1).splitlines()) if line]
    if not lines:
        raise InvalidInput("no title can be made of an empty query", ("query",))
    line = lines[0]
    if len(line) <= _QUERY_CUT:
        return line
    cut = line[:_QUERY_CUT]
    last_space = cut.rfind(" ")
    return (cut[:last_space] if last_space > _WORD_CUT_MIN else cut) + _ELLIPSIS


def entitle(
    session: Session,
    title: str,
    source: TitleSource,
    *,
    actor: str,
    now: datetime,
    expected_revision: int | None = None,
) -> SessionChange:
    """Give a session a title; one that was not set by hand leaves a title that is there.

    Raises:
        IllegalState, SessionExpired, NotFound: the session is not ACTIVE.
        RevisionConflict: `expected_revision` is given and is not the session's.
    """
    require_active(as_of(session, now), ("id",))
    check_revision(session, expected_revision)
    if session.title == title or (session.title is not None and source is not TitleSource.USER):
        return SessionChange()
    payload = {"title": title, "source": source.value}
    event = event_of(session, SessionEventType.SESSION_TITLED, actor, now, payload=payload)
    return changed(session, active(replace(session, title=title), now), now, (event,))


def _printable(text: str) -> str:
    kept = (one for one in text if one not in _INVISIBLE and unicodedata.category(one) not in ("Cc", "Cs"))
    return "".join(kept).strip()
