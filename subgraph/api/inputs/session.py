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
        "A part of a session that can be copied. Copies are deep: nothing is shared. Parts that the session does "
        "not have are ignored."
    ),
    values={
        CopyPart.DATASETS: "Datasets; not supported yet.",
        CopyPart.SCENARIOS: "Scenarios; not supported yet.",
        CopyPart.RUNS: "Runs; not supported yet.",
        CopyPart.CONTEXT: "Working memory (`context`).",
        CopyPart.MESSAGES: "Messages; not supported yet.",
        CopyPart.FILES: "Files; not supported yet.",
        CopyPart.TILES: "Registered coverage; the copy's tiles are assigned to pods independently.",
    },
)
EXPECTED_REVISION = "If given, the session must be at this revision, else REVISION_CONFLICT."


show_enum(
    NameConflict,
    name="SessionNameConflictPolicy",
    description=(
        "What to do if another session of the tenant has the name. Names are compared after trimming and NFC "
        "normalisation."
    ),
    values={
        NameConflict.REJECT: "Refuse it with NAME_TAKEN.",
        NameConflict.SUFFIX: 'Append the first free suffix of "-2", "-3" and so on.',
        NameConflict.ALLOW: "Share the name; lookups by it fail with NAME_AMBIGUOUS.",
    },
)
NAME_CONFLICT = "What to do if another session of the tenant has the name."


@strawberry.input(description="A session to copy.")
class CopySessionInput:
    """A copy."""

    source_id: strawberry.ID = strawberry.field(description="Id of the session to copy; it is not changed.")
    display_name: str = strawberry.field(description="The copy's name.")
    include: list[CopyPart] = strawberry.field(
        default_factory=lambda: [CopyPart.DATASETS],
        description="Parts to copy in addition to the session's attributes.",
    )
    name_conflict: NameConflict = strawberry.field(default=NameConflict.REJECT, description=NAME_CONFLICT)
    idempotency_key: str | None = strawberry.field(default=None, description=IDEMPOTENCY_KEY)


@strawberry.input(description="A session to create. The server generates its id.")
class CreateSessionInput:
    """A new session."""

    display_name: str | None = strawberry.field(
        default=None,
        description="Name, unique in the tenant; generated if absent. Only printable characters and spaces.",
    )
    data_source: str | None = strawberry.field(default=None, description="Data source it belongs to.")
    type: str = strawberry.field(default="Session", description="Type of the session, chosen by the creator.")
    version: int = strawberry.field(default=1, description="Version number chosen by the creator, from 1.")
    utc_offset: Duration = strawberry.field(
        default=Duration(timedelta()), description="Offset of its local time from UTC, at most 18 hours."
    )
    details: list[SessionDetailInput] | None = strawberry.field(
        default=None, description="Labels: pairs of key and value."
    )
    metadata: JSON | None = strawberry.field(default=None, description="JSON object to attach.")
    coverage: TileCoverageInput | None = strawberry.field(default=None, description="Tiles to register with it.")
    required_labels: list[SessionDetailInput] | None = strawberry.field(
        default=None,
        description=(
            "Labels that a pod must have to own any of its tiles, now or later, at most "
            f"{REQUIRED_LABELS_MAX}. A pod's zone counts as the label `zone`."
        ),
    )

    external_id: str | None = strawberry.field(
        default=None,
        description="The client's own id for the session, unique per tenant and owner. For lookups only.",
    )
    ttl: Duration | None = strawberry.field(
        default=None,
        description=(
            "Time to live: since the last activity (SLIDING) or from now (FIXED). By default `defaultTtl` of "
            "sessionManager."
        ),
    )
    expiry_policy: ExpiryPolicy = strawberry.field(
        default=ExpiryPolicy.SLIDING, description="What renews the time to live. NEVER excludes `ttl`."
    )
    context: JSON | None = strawberry.field(
        default=None, description=f"Working memory: a JSON object of at most {CONTEXT_BYTES_MAX:,} bytes."
    )
    max_history: int | None = strawberry.field(
        default=None, description=f"Maximum number of messages in its working history, at most {MAX_HISTORY_MAX:,}."
    )
    token_budget: Long | None = strawberry.field(
        default=None, description="Maximum number of tokens its runs may use; unlimited if absent."
    )
    tick_interval: Duration | None = strawberry.field(
        default=None,
        description="Interval of SESSION_TICK events while it is ACTIVE, PT1S to P1D; none if absent.",
    )

    name_conflict: NameConflict = strawberry.field(default=NameConflict.REJECT, description=NAME_CONFLICT)
    idempotency_key: str | None = strawberry.field(default=None, description=IDEMPOTENCY_KEY)
    associate_ids: list[strawberry.ID] | None = strawberry.field(
        default=None, description=f"Ids of sessions to add as associates (children), at most {ASSOCIATES_PER_CALL_MAX}."
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


@strawberry.input(description="A session to rename. Its id and references to it do not change.")
class RenameSessionInput:
    """A name."""

    id: strawberry.ID = strawberry.field(description="The session.")
    display_name: str = strawberry.field(description="The new name.")
    name_conflict: NameConflict = strawberry.field(default=NameConflict.REJECT, description=NAME_CONFLICT)
    expected_revision: int | None = strawberry.field(default=None, description=EXPECTED_REVISION)


@strawberry.input(description="Either a title, or a query from which to generate one.")
class TitleSessionInput:
    """A title."""

    id: strawberry.ID = strawberry.field(description="The session.")
    title: str | None = strawberry.field(
        default=None,
        description=f"The title, 1 to {TITLE_LENGTH_MAX} characters after trimming. Unprintable ones are removed.",
    )
    query: str | None = strawberry.field(
        default=None,
        description=(
            "The user's first query. Its beginning is sent to the title provider, if one is configured; otherwise its"
            " first line becomes the title. A session that already has a title keeps it."
        ),
    )
    expected_revision: int | None = strawberry.field(default=None, description=EXPECTED_REVISION)


@strawberry.input(description="A parent session, and associates to add to it or remove from it.")
class AssociateSessionsInput:
    """A parent and its associates."""

    parent_id: strawberry.ID = strawberry.field(description="Id of the parent session.")
    associate_ids: list[strawberry.ID] = strawberry.field(
        description=f"Ids of the associates (children), at most {ASSOCIATES_PER_CALL_MAX}."
    )
    expected_revision: int | None = strawberry.field(
        default=None, description="If given, the parent must be at this revision, else REVISION_CONFLICT."
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
