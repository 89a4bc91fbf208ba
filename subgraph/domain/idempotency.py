"""Owns idempotency keys: by which a client that repeats a mutation gets what the first one made, and nothing twice."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from subgraph.domain.errors import InvalidInput
from subgraph.domain.ids import TenantId
from subgraph.domain.limits import check_length
from subgraph.domain.texts import check_line

KEY_LENGTH_MAX = 200
KEPT_FOR = timedelta(hours=24)
PATH = ("idempotencyKey",)


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A key as a client gave it with a mutation.

    It means something to its owner and that mutation alone. `fingerprint` stands for what was asked with it. One that
    was used before `stale_before` counts for nothing, whether it was swept or not.
    """

    tenant_id: TenantId
    owner_id: str
    operation: str
    text: str
    fingerprint: str
    stale_before: datetime


@dataclass(frozen=True, slots=True)
class OnceKey:
    """A client's idempotency key, if it gave one, and what stands for all that it asked."""

    text: str | None = None
    fingerprint: str = ""


NO_KEY = OnceKey()


def check_key(text: str) -> None:
    """Refuse a key that is empty or too long, or that holds control characters.

    Raises:
        InvalidInput: naming the limit or the character.
    """
    check_length("idempotencyKey", len(text), KEY_LENGTH_MAX, PATH)
    check_line("idempotencyKey", text, PATH)


def check_same(key: IdempotencyKey, used_for: str) -> None:
    """Refuse a key that was used with another request.

    Raises:
        InvalidInput: the fingerprints differ.
    """
    if key.fingerprint != used_for:
        raise InvalidInput(f"idempotencyKey {key.text!r} was used for another {key.operation} before", PATH)
