"""Owns what many types share: labels, times, and how pages become Relay connections."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TypeVar

import strawberry

T = TypeVar("T")


@strawberry.federation.type(shareable=True, description="Position of a page in its list (Relay).")
class PageInfo:
    """Relay's page info."""

    has_next_page: bool = strawberry.field(description="Whether more items follow this page.")
    has_previous_page: bool = strawberry.field(description="Whether there are items before this page.")
    start_cursor: str | None = strawberry.field(description="Cursor of the first edge; null if the page is empty.")
    end_cursor: str | None = strawberry.field(
        description="Cursor of the last edge: pass it as `after` for the next page. Null if the page is empty."
    )


@strawberry.type(description="A label: a key and its value.")
class SessionDetail:
    """A label."""

    key: str = strawberry.field(description="The label's key, unique within the session, tile or pod.")
    value: str = strawberry.field(description="The label's value.")


def to_details(labels: Iterable[tuple[str, str]]) -> list[SessionDetail]:
    """Labels as GraphQL shows them."""
    return [SessionDetail(key=key, value=value) for key, value in labels]


def page_info(cursors: Sequence[str], has_next: bool, has_previous: bool) -> PageInfo:
    """Relay's page info of a page with these cursors."""
    return PageInfo(
        has_next_page=has_next,
        has_previous_page=has_previous,
        start_cursor=cursors[0] if cursors else None,
        end_cursor=cursors[-1] if cursors else None,
    )


def slice_after(keys: Sequence[str], first: int, after: str | None) -> tuple[list[str], bool]:
    """The page of sorted keys that follows `after` (itself possibly gone by now), and whether more follow."""
    following = [key for key in keys if after is None or key > after]
    return following[:first], len(following) > first


def at_ms(milliseconds: int) -> datetime:
    """A time from Redis time in milliseconds."""
    return datetime.fromtimestamp(milliseconds / 1_000, UTC)


def to_ms(moment: datetime) -> int:
    """A time as Redis time in milliseconds."""
    return round(moment.timestamp() * 1_000)
