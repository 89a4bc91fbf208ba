"""Owns what a list of sessions is: which of them it holds, in which order, and what may not be asked."""

from collections.abc import Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from subgraph.domain.access import Caller, Scope
from subgraph.domain.errors import InvalidInput
from subgraph.domain.ids import TenantId
from subgraph.domain.limits import check_chosen
from subgraph.domain.naming import DISPLAY_NAME_LENGTH_MAX, search_text
from subgraph.domain.sessions import SessionState

PAGE_SIZE = 20
PAGE_SIZE_MAX = 100
COUNTED_MAX = 10_000
"""Lists of more than so many sessions are not counted: their total is null."""

UNSEARCHABLE = (":", ",", "}")
"""Details whose keys begin with these are kept, but no list is filtered by them."""

LISTED_STATES = frozenset({SessionState.ACTIVE, SessionState.ENDED})
"""What a list holds that names no states: what expired, or was deleted, is listed where it is asked for."""


class SessionOrderField(StrEnum):
    """By what a list is ordered; sessions that are equal in it are ordered by their ids."""

    CREATED_AT = "CREATED_AT"
    UPDATED_AT = "UPDATED_AT"
    LAST_ACTIVE_AT = "LAST_ACTIVE_AT"
    DISPLAY_NAME = "DISPLAY_NAME"


@dataclass(frozen=True, slots=True)
class SessionOrder:
    """The order of a list."""

    field: SessionOrderField = SessionOrderField.CREATED_AT
    is_descending: bool = True


@dataclass(frozen=True, slots=True)
class SessionFilter:
    """What sessions must be like; None: whatever they are. `created_after` is within, `created_before` beyond."""

    states: Set[SessionState] | None = None
    data_source: str | None = None
    type: str | None = None
    owner_id: str | None = None
    display_name_contains: str | None = None
    detail: tuple[str, str] | None = None
    active_within: timedelta | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    include_deleted: bool = False


@dataclass(frozen=True, slots=True)
class SessionList:
    """A list as a store reads it: every session of the tenant (of one owner, if given) that matches at `now`.

    `name_contains` is folded as `search_text` does it. `active_since`: active then, or later.
    """

    tenant_id: TenantId
    states: Set[SessionState]
    now: datetime
    order: SessionOrder = SessionOrder()
    owner_id: str | None = None
    data_source: str | None = None
    type: str | None = None
    name_contains: str | None = None
    detail: tuple[str, str] | None = None
    active_since: datetime | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


def list_for(caller: Caller, wanted: SessionFilter, order: SessionOrder, now: datetime) -> SessionList | None:
    """The list that a caller asks for, without what it may not see; None: it can hold nothing.

    Raises:
        InvalidInput: a value is malformed or beyond a limit.
    """
    _check(wanted)
    owner_id = wanted.owner_id
    if not caller.has(Scope.TENANT_READ):
        if owner_id not in (None, caller.owner_id):
            return None
        owner_id = caller.owner_id
    states = wanted.states if wanted.states is not None else LISTED_STATES
    if wanted.include_deleted:
        states |= {SessionState.DELETED}
    if not states:
        return None
    return SessionList(
        tenant_id=caller.tenant_id,
        states=states,
        now=now,
        order=order,
        owner_id=owner_id,
        data_source=wanted.data_source,
        type=wanted.type,
        name_contains=search_text(wanted.display_name_contains) if wanted.display_name_contains else None,
        detail=wanted.detail,
        active_since=None if wanted.active_within is None else now - wanted.active_within,
        created_after=wanted.created_after,
        created_before=wanted.created_before,
    )


def _check(wanted: SessionFilter) -> None:
    for name, chosen in (("states", wanted.states), ("dataSource", wanted.data_source), ("type", wanted.type)):
        check_chosen(name, chosen, ("filter", name))
    contains = wanted.display_name_contains
    if contains is not None and len(contains) > DISPLAY_NAME_LENGTH_MAX:
        raise InvalidInput(
            f"displayNameContains has at most {DISPLAY_NAME_LENGTH_MAX} characters, not {len(contains):,}",
            ("filter", "displayNameContains"),
            f"{DISPLAY_NAME_LENGTH_MAX} characters",
        )
    if wanted.detail is not None and (not wanted.detail[0] or wanted.detail[0][0] in UNSEARCHABLE):
        marks = " ".join(UNSEARCHABLE)
        raise InvalidInput(
            f"a detail is sought by a key that is not empty and begins with none of {marks}",
            ("filter", "detail", "key"),
        )
    if wanted.active_within is not None and wanted.active_within <= timedelta():
        raise InvalidInput("activeWithin must be longer than nothing", ("filter", "activeWithin"), "above PT0S")
