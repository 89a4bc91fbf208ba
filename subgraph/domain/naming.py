"""Owns the names of sessions: how two are compared, which are refused, and what a taken one becomes.

A name is compared, and kept, after trimming and NFC normalisation: what looks the same is the same, however a keyboard
composed it. Capitals, accents and everything else that can be seen make a difference.
"""

import re
import unicodedata
from collections.abc import Iterator
from enum import StrEnum
from uuid import UUID

from subgraph.domain.errors import InvalidInput
from subgraph.domain.limits import check_length
from subgraph.domain.texts import check_visible

MAIN_DISPLAY_NAME = "main"
RETIRED_MAIN_PREFIX = "main-"
DISPLAY_NAME_LENGTH_MAX = 200
SUFFIX_MAX = 10_000
"""A taken name is numbered up to here; then it is refused as taken."""

_COMPOSED_OF_MAX = 4
"""Code points that one composed character is made of at most: https://unicode.org/faq/normalization.html#12"""
_RETIRED_MAIN = re.compile(rf"{RETIRED_MAIN_PREFIX}[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}")


class NameConflict(StrEnum):
    """What becomes of a session whose name another one of the tenant bears."""

    REJECT = "REJECT"
    SUFFIX = "SUFFIX"
    ALLOW = "ALLOW"


def normal_name(text: str) -> str:
    """A name as it is kept and compared: NFC, without white space at its ends.

    A text that is too long for a name however it is composed stays as it is: to put combining characters in order takes
    time that grows with the square of how many there are.
    """
    text = text.strip()
    if len(text) > _COMPOSED_OF_MAX * DISPLAY_NAME_LENGTH_MAX:
        return text
    return unicodedata.normalize("NFC", text).strip()


def search_text(text: str) -> str:
    """A text as names are searched by: without regard to case and to how its characters are composed."""
    # Folding can take a text out of its normal form.
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def retired_main_name(session_id: str) -> str:
    """The name that a former main session bears once another one is `main`."""
    return f"{RETIRED_MAIN_PREFIX}{session_id}"


def is_retired_main(name: str) -> bool:
    """Whether a name is one of former main sessions."""
    return _RETIRED_MAIN.fullmatch(name) is not None


def check_name(name: str, *, may_be_retired_main: bool = False) -> None:
    """Refuse a name that cannot be a session's, or that a caller cannot choose.

    Args:
        name: the name, as it is kept.
        may_be_retired_main: whether it may be one of former main sessions, because it is not chosen but came along.

    Raises:
        InvalidInput: it is empty or too long, holds what cannot be seen, looks like an id, or is one that former main
            sessions bear.
    """
    check_length("displayName", len(name), DISPLAY_NAME_LENGTH_MAX, ("displayName",))
    check_visible("displayName", name, ("displayName",))
    if looks_like_uuid(name):
        raise InvalidInput("displayName may not look like a UUID: it would be mistaken for an id", ("displayName",))
    if is_retired_main(name) and not may_be_retired_main:
        raise InvalidInput(
            f"names of the form {RETIRED_MAIN_PREFIX}<id> are kept for former main sessions", ("displayName",)
        )


def numbered(name: str) -> Iterator[str]:
    """The names that a session is offered in turn: the wanted one, then with "-2", "-3" and so on, up to a bound."""
    yield name
    for number in range(2, SUFFIX_MAX + 1):
        suffix = f"-{number}"
        # A long name is cut, so that its number fits.
        candidate = name[: DISPLAY_NAME_LENGTH_MAX - len(suffix)].rstrip() + suffix
        if not looks_like_uuid(candidate):
            yield candidate


def looks_like_uuid(text: str) -> bool:
    """Whether a text could be taken for the id of a session, in any of the ways in which UUIDs are written."""
    try:
        UUID(text)
    except ValueError:
        return False
    return True
