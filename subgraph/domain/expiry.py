"""Owns how long sessions live: the policies, the limits of a TTL, and when an active session expires."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from subgraph.domain.limits import check_span

TTL_MIN = timedelta(seconds=1)
TTL_MAX = timedelta(days=3_650)
MAX_HISTORY_MAX = 10_000


class ExpiryPolicy(StrEnum):
    """What of a session's life renews its TTL."""

    FIXED = "FIXED"
    SLIDING = "SLIDING"
    NEVER = "NEVER"


@dataclass(frozen=True, slots=True)
class SessionDefaults:
    """What a new session gets where its creator says nothing."""

    ttl: timedelta = timedelta(hours=720)
    max_history: int = 500


DEFAULTS = SessionDefaults()


def expiry_of(policy: ExpiryPolicy, ttl: timedelta | None, now: datetime) -> datetime | None:
    """When a session expires whose time starts now; None: never."""
    return None if policy is ExpiryPolicy.NEVER or ttl is None else now + ttl


def check_ttl(ttl: timedelta, path: tuple[str, ...] = ("ttl",)) -> None:
    """Refuse a TTL beyond its limits.

    Raises:
        InvalidInput: naming the field and the limit.
    """
    check_span(path[-1], ttl, (TTL_MIN, "PT1S"), (TTL_MAX, f"P{TTL_MAX.days}D"), path)
