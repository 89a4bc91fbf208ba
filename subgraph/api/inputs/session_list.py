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
    description="By what a list of sessions is ordered.",
    values={
        SessionOrderField.CREATED_AT: "When they were created.",
        SessionOrderField.UPDATED_AT: "When they changed last.",
        SessionOrderField.LAST_ACTIVE_AT: "When they were last worked on.",
        SessionOrderField.DISPLAY_NAME: "Their names, by code points: capitals come first.",
    },
)


class SessionOrderDirection(StrEnum):
    """A direction."""

    ASC = "ASC"
    DESC = "DESC"


show_enum(
    SessionOrderDirection,
    name="SessionOrderDirection",
    description="In which direction a list runs.",
    values={
        SessionOrderDirection.ASC: "The earliest, or the first by name, comes first.",
        SessionOrderDirection.DESC: "The latest, or the last by name, comes first.",
    },
)


@strawberry.input(
    description=(
        "Which session: exactly one of these. More than one match is NAME_AMBIGUOUS, never a guess; one that has "
        "expired is SESSION_EXPIRED; one that was deleted, or that the caller may not see, is not there."
    )
)
class SessionRef:
    """A session reference."""

    id: strawberry.ID | None = strawberry.field(default=None, description="The session's id.")
    external_id: str | None = strawberry.field(
        default=None,
        description=(
            "The client's own alias: of the caller's own session if it has one of that alias, else of one it may see."
        ),
    )
    display_name: str | None = strawberry.field(
        default=None, description="The session's name, compared after trimming and NFC normalisation; capitals count."
    )
    any: str | None = strawberry.field(
        default=None,
        description="Its id, else its external id, else its name: the first of these that there is decides.",
    )

    def to_ref(self) -> session_ref.SessionRef:
        """The domain's value.

        Raises:
            InvalidInput: not exactly one is given.
        """
        given_id = None if self.id is None else str(self.id)
        return session_ref.ref_of(given_id, self.external_id, self.display_name, self.any)


@strawberry.input(description="What sessions must be like; what is not given does not matter.")
class SessionFilter:
    """A filter."""

    states: list[SessionState] | None = strawberry.field(
        default=None, description="ACTIVE and ENDED if absent. What has run out of time is EXPIRED at once."
    )
    data_source: str | None = strawberry.field(default=None, description="Exactly this data source.")
    type: str | None = strawberry.field(default=None, description="Exactly this type.")
    owner_id: strawberry.ID | None = strawberry.field(
        default=None, description="This owner's; without tenant:read a caller sees only its own in any case."
    )
    display_name_contains: str | None = strawberry.field(
        default=None, description="Part of the name; capitals do not count."
    )
    detail: SessionDetailInput | None = strawberry.field(
        default=None, description="A detail it has. Keys that begin with : , or } cannot be asked for."
    )
    active_within: Duration | None = strawberry.field(default=None, description="Active within this time until now.")
    created_after: datetime | None = strawberry.field(default=None, description="Created then or later.")
    created_before: datetime | None = strawberry.field(default=None, description="Created before then.")
    include_deleted: bool = strawberry.field(
        default=False, description="Also those that were deleted and are not purged yet."
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


@strawberry.input(description="How a list of sessions is ordered; by their ids where they are equal in it.")
class SessionOrder:
    """An order."""

    field: SessionOrderField = strawberry.field(default=SessionOrderField.CREATED_AT, description="What counts.")
    direction: SessionOrderDirection = strawberry.field(
        default=SessionOrderDirection.DESC, description="Which way it runs."
    )

    def to_order(self) -> session_list.SessionOrder:
        """The domain's value."""
        return session_list.SessionOrder(self.field, self.direction is SessionOrderDirection.DESC)
