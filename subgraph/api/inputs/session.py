"""Owns the inputs about sessions."""

from datetime import timedelta
from typing import Any

import strawberry
from strawberry.scalars import JSON

from subgraph.api.descriptions import show_enum
from subgraph.api.inputs.coverage import TileCoverageInput
from subgraph.api.inputs.label import SessionDetailInput, labels_of
from subgraph.api.inputs.once import IDEMPOTENCY_KEY
from subgraph.api.scalars import Duration, Long
from subgraph.domain.errors import InvalidInput
from subgraph.domain.expiry import MAX_HISTORY_MAX, ExpiryPolicy
from subgraph.domain.ids import SessionId
from subgraph.domain.labels import REQUIRED_LABELS_MAX
from subgraph.domain.naming import NameConflict
from subgraph.domain.new_session import CONTEXT_BYTES_MAX, NewSession
from subgraph.domain.sessions.copying import CopyPart
from subgraph.domain.sessions.hierarchy import ASSOCIATES_PER_CALL_MAX
from subgraph.domain.sessions.titles import TITLE_LENGTH_MAX

show_enum(
    CopyPart,
    name="SessionCopyPart",
    description=(
        "A part of a session that a copy may take along, deep: nothing is shared. Of parts that a session has none "
        "of, none is copied."
    ),
    values={
        CopyPart.DATASETS: "Its datasets; sessions have none yet.",
        CopyPart.SCENARIOS: "Its scenarios; sessions have none yet.",
        CopyPart.RUNS: "Its runs; sessions have none yet.",
        CopyPart.CONTEXT: "Its working memory.",
        CopyPart.MESSAGES: "Its messages; sessions have none yet.",
        CopyPart.FILES: "Its files; sessions have none yet.",
        CopyPart.TILES: "Its registered coverage, whose tiles are placed anew.",
    },
)
EXPECTED_REVISION = "If given, the session must be at this revision."


show_enum(
    NameConflict,
    name="SessionNameConflictPolicy",
    description=("What to do if another session of the tenant has the name, after trimming and NFC normalisation."),
    values={
        NameConflict.REJECT: "It is refused: NAME_TAKEN.",
        NameConflict.SUFFIX: 'It gets the first free one of "-2", "-3" and so on.',
        NameConflict.ALLOW: "They share the name; a lookup by it then fails with NAME_AMBIGUOUS.",
    },
)
NAME_CONFLICT = "What to do if another session of the tenant has the name."


@strawberry.input(description="A session to copy.")
class CopySessionInput:
    """A copy."""

    source_id: strawberry.ID = strawberry.field(description="The session to copy; it stays as it is.")
    display_name: str = strawberry.field(description="The copy's name.")
    include: list[CopyPart] = strawberry.field(
        default_factory=lambda: [CopyPart.DATASETS], description="What the copy takes along beyond its attributes."
    )
    name_conflict: NameConflict = strawberry.field(default=NameConflict.REJECT, description=NAME_CONFLICT)
    idempotency_key: str | None = strawberry.field(default=None, description=IDEMPOTENCY_KEY)


@strawberry.input(description="A session to create. Its key is made by the server.")
class CreateSessionInput:
    """A new session."""

    display_name: str | None = strawberry.field(
        default=None,
        description="Label, unique in the tenant; made up if absent. Every character in it can be seen, or is a space.",
    )
    data_source: str | None = strawberry.field(default=None, description="The data source it belongs to.")
    type: str = strawberry.field(default="Session", description="What kind of session it is.")
    version: int = strawberry.field(default=1, description="The creator's version number, from 1.")
    utc_offset: Duration = strawberry.field(
        default=Duration(timedelta()), description="Offset of its local time from UTC, within 18 hours."
    )
    details: list[SessionDetailInput] | None = strawberry.field(default=None, description="Small public labels.")
    metadata: JSON | None = strawberry.field(default=None, description="A JSON object of the creator's own.")
    coverage: TileCoverageInput | None = strawberry.field(default=None, description="Tiles to register with it.")
    required_labels: list[SessionDetailInput] | None = strawberry.field(
        default=None,
        description=(
            "Labels that a pod must bear to have any of its tiles, present or future; its zone counts as the label "
            f"`zone`. At most {REQUIRED_LABELS_MAX}."
        ),
    )

    external_id: str | None = strawberry.field(
        default=None, description="The client's own alias, unique in the tenant and owner; a lookup, never a key."
    )
    ttl: Duration | None = strawberry.field(
        default=None, description="How long it lives after activity (SLIDING) or from now (FIXED); else a setting."
    )
    expiry_policy: ExpiryPolicy = strawberry.field(
        default=ExpiryPolicy.SLIDING, description="What renews its time. With NEVER there is no ttl."
    )
    context: JSON | None = strawberry.field(
        default=None, description=f"Working memory: a JSON object of at most {CONTEXT_BYTES_MAX:,} bytes."
    )
    max_history: int | None = strawberry.field(
        default=None, description=f"How many messages its working history keeps, at most {MAX_HISTORY_MAX:,}."
    )
    token_budget: Long | None = strawberry.field(default=None, description="How many tokens its runs may use.")
    tick_interval: Duration | None = strawberry.field(
        default=None,
        description="How often it ticks in its journal, from PT1S to P1D, for as long as it lives; never if absent.",
    )

    name_conflict: NameConflict = strawberry.field(default=NameConflict.REJECT, description=NAME_CONFLICT)
    idempotency_key: str | None = strawberry.field(default=None, description=IDEMPOTENCY_KEY)
    associate_ids: list[strawberry.ID] | None = strawberry.field(
        default=None, description=f"Sessions to be its associates (children), at most {ASSOCIATES_PER_CALL_MAX}."
    )

    def to_new_session(self) -> NewSession:
        """The domain's value.

        Raises:
            InvalidInput: a detail or a required label is given twice, or metadata or context are no JSON objects.
        """
        return NewSession(
            display_name=self.display_name,
            name_conflict=self.name_conflict,
            data_source=self.data_source,
            type=self.type,
            version=self.version,
            utc_offset=self.utc_offset,
            details=labels_of(self.details, ("details",)),
            metadata=json_object(self.metadata, "metadata"),
            required_labels=labels_of(self.required_labels, ("requiredLabels",)),
            external_id=self.external_id,
            context=json_object(self.context, "context"),
            max_history=self.max_history,
            ttl=self.ttl,
            expiry_policy=self.expiry_policy,
            token_budget=self.token_budget,
            tick_interval=self.tick_interval,
            associate_ids=tuple(SessionId(str(one)) for one in self.associate_ids or ()),
        )


@strawberry.input(description="A session to rename; its id and what refers to it stay.")
class RenameSessionInput:
    """A name."""

    id: strawberry.ID = strawberry.field(description="The session.")
    display_name: str = strawberry.field(description="Its name from now on.")
    name_conflict: NameConflict = strawberry.field(default=NameConflict.REJECT, description=NAME_CONFLICT)
    expected_revision: int | None = strawberry.field(default=None, description=EXPECTED_REVISION)


@strawberry.input(description="A title by hand, or a query to make one from: exactly one of them.")
class TitleSessionInput:
    """A title."""

    id: strawberry.ID = strawberry.field(description="The session.")
    title: str | None = strawberry.field(
        default=None,
        description=f"1 to {TITLE_LENGTH_MAX} characters after trimming; what cannot be seen is left out.",
    )
    query: str | None = strawberry.field(
        default=None,
        description="What was asked first; a title provider, if one is set, is shown its beginning; else the title is "
        "its first line. A session that has a title keeps it.",
    )
    expected_revision: int | None = strawberry.field(default=None, description=EXPECTED_REVISION)


@strawberry.input(description="A parent, and sessions that are to be its associates, or to be none any more.")
class AssociateSessionsInput:
    """A parent and its associates."""

    parent_id: strawberry.ID = strawberry.field(description="The parent.")
    associate_ids: list[strawberry.ID] = strawberry.field(
        description=f"The associates (children), at most {ASSOCIATES_PER_CALL_MAX}."
    )
    expected_revision: int | None = strawberry.field(
        default=None, description="If given, the parent must be at this revision."
    )

    def to_associate_ids(self) -> list[SessionId]:
        """The associates' ids."""
        return [SessionId(str(one)) for one in self.associate_ids]


def json_object(value: JSON | None, name: str) -> dict[str, object]:
    """A field of JSON that holds an object; without a value it is empty.

    Raises:
        InvalidInput: it is no object.
    """
    given: Any = {} if value is None else value
    if not isinstance(given, dict):
        raise InvalidInput(f"{name} must be a JSON object", (name,))
    return given
