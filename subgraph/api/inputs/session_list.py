"""Owns the inputs by which sessions are looked up and listed."""

from datetime import datetime
from enum import StrEnum

import strawberry

from subgraph.api.descriptions import show_enum
from subgraph.api.inputs.label import SessionDetailInput
from subgraph.api.scalars import Duration
from subgraph.domain import session_list, session_ref
from subgraph.domain.session_list import SessionOrderField
from subgraph.domain.sessions import SessionState

show_enum(
    SessionOrderField,
    name="SessionOrderField",
    description="Field by which a list of sessions is ordered.",
    values={
        SessionOrderField.CREATED_AT: "Time of creation.",
        SessionOrderField.UPDATED_AT: "Time of the last change.",
        SessionOrderField.LAST_ACTIVE_AT: "Time of the last activity.",
        SessionOrderField.DISPLAY_NAME: "Name, compared by code points: upper case before lower case.",
    },
)


class SessionOrderDirection(StrEnum):
    """A direction."""

    ASC = "ASC"
    DESC = "DESC"


show_enum(
    SessionOrderDirection,
    name="SessionOrderDirection",
    description="Direction of an order.",
    values={
        SessionOrderDirection.ASC: "Ascending: earliest first, or first by name.",
        SessionOrderDirection.DESC: "Descending: latest first, or last by name.",
    },
)


@strawberry.input(
    description=(
        "A reference to one session: exactly one of the fields. If several sessions match, it fails with "
        "NAME_AMBIGUOUS; if the session has expired, with SESSION_EXPIRED. Sessions that were deleted, or that "
        "the caller may not see, are not found."
    )
)
class SessionRef:
    """A session reference."""

    id: strawberry.ID | None = strawberry.field(default=None, description="The session's id.")
    external_id: str | None = strawberry.field(
        default=None,
        description=(
            "The client's own id for the session. The caller's own sessions are searched first, then others it may see."
        ),
    )
    display_name: str | None = strawberry.field(
        default=None, description="The session's name, compared after trimming and NFC normalisation; case-sensitive."
    )
    any: str | None = strawberry.field(
        default=None,
        description="The session's id, external id or name, tried in this order; the first that matches decides.",
    )

    def to_ref(self) -> session_ref.SessionRef:
        """The domain's value.

        Raises:
            InvalidInput: not exactly one is given.
        """
        given_id = None if self.id is None else str(self.id)
        return session_ref.ref_of(given_id, self.external_id, self.display_name, self.any)


@strawberry.input(description="Criteria that sessions must meet; absent ones do not restrict.")
class SessionFilter:
    """A filter."""

    states: list[SessionState] | None = strawberry.field(
        default=None,
        description=(
            "Sessions in one of these states; by default ACTIVE and ENDED. A session counts as EXPIRED from the "
            "moment its time runs out."
        ),
    )
    data_source: str | None = strawberry.field(default=None, description="Sessions of exactly this data source.")
    type: str | None = strawberry.field(default=None, description="Sessions of exactly this type.")
    owner_id: strawberry.ID | None = strawberry.field(
        default=None,
        description="Sessions of this owner. Without tenant:read a caller only sees its own in any case.",
    )
    display_name_contains: str | None = strawberry.field(
        default=None, description="Sessions whose name contains this text, ignoring case."
    )
    detail: SessionDetailInput | None = strawberry.field(
        default=None, description="Sessions with this label. Keys that begin with : , or } are not supported here."
    )
    active_within: Duration | None = strawberry.field(
        default=None, description="Sessions that were active within this time before now."
    )
    created_after: datetime | None = strawberry.field(
        default=None, description="Sessions created at this time or later."
    )
    created_before: datetime | None = strawberry.field(default=None, description="Sessions created before this time.")
    include_deleted: bool = strawberry.field(
        default=False, description="Whether to include deleted sessions that have not been purged."
    )

    def to_filter(self) -> session_list.SessionFilter:
        """The domain's value."""
        return session_list.SessionFilter(
            states=None if self.states is None else frozenset(self.states),
            data_source=self.data_source,
            type=self.type,
            owner_id=None if self.owner_id is None else str(self.owner_id),
            display_name_contains=self.display_name_contains,
            detail=None if self.detail is None else (self.detail.key, self.detail.value),
            active_within=self.active_within,
            created_after=self.created_after,
            created_before=self.created_before,
            include_deleted=self.include_deleted,
        )


@strawberry.input(description="Order of a list of sessions. Ties are broken by id.")
class SessionOrder:
    """An order."""

    field: SessionOrderField = strawberry.field(
        default=SessionOrderField.CREATED_AT, description="The field to order by."
    )
    direction: SessionOrderDirection = strawberry.field(
        default=SessionOrderDirection.DESC, description="The direction."
    )

    def to_order(self) -> session_list.SessionOrder:
        """The domain's value."""
        return session_list.SessionOrder(self.field, self.direction is SessionOrderDirection.DESC)
