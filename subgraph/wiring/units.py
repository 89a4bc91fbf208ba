"""Owns the clock, the tokens and the conversion to milliseconds that the wiring passes to operations."""

from datetime import UTC, datetime
from secrets import token_urlsafe


def now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


def new_token() -> str:
    """A text that nobody can guess."""
    return token_urlsafe(16)


def ms(seconds: float) -> int:
    """Whole milliseconds."""
    return round(seconds * 1_000)
