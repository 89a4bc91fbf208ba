"""Owns the input that changes a session's fields: what is given is set or merged, and what is to go is said."""

import strawberry
from strawberry.scalars import JSON

from subgraph.api.descriptions import show_enum
from subgraph.api.inputs.label import SessionDetailInput, labels_of
from subgraph.api.inputs.session import EXPECTED_REVISION, json_object
from subgraph.api.scalars import Duration, Long
from subgraph.domain.labels import REQUIRED_LABELS_MAX
from subgraph.domain.sessions import SessionPatch
from subgraph.domain.sessions.patch import REMOVED_CONTEXT_MAX, REMOVED_DETAILS_MAX, RemovableField

show_enum(
    RemovableField,
    name="SessionRemovableField",
    description="A field of a session that can be cleared.",
    values={
        RemovableField.EXTERNAL_ID: "`externalId`, which another session may then use.",
        RemovableField.DATA_SOURCE: "`dataSource`: the session then belongs to none.",
        RemovableField.TOKEN_BUDGET: "`tokenBudget`: its runs are then unlimited.",
        RemovableField.TICK_INTERVAL: "`tickInterval`: the session then has no ticks.",
    },
)


@strawberry.input(description="Changes to an ACTIVE session. Absent fields are not changed.")
class UpdateSessionInput:
    """A change."""

    id: strawberry.ID = strawberry.field(description="The session.")
    expected_revision: int | None = strawberry.field(default=None, description=EXPECTED_REVISION)
    required_labels: list[SessionDetailInput] | None = strawberry.field(
        default=None,
        description=(
            f"Labels that a pod must have to own any of its tiles, at most {REQUIRED_LABELS_MAX}. Replaces the former "
            "list; tiles on pods without them are moved, make-before-break."
        ),
    )

    external_id: str | None = strawberry.field(
        default=None,
        description="New external id. An empty string is ignored; `removeFields` clears the field.",
    )
    data_source: str | None = strawberry.field(
        default=None, description="New data source. An empty string is ignored; `removeFields` clears the field."
    )
    type: str | None = strawberry.field(default=None, description="New type. An empty string is ignored.")
    version: int | None = strawberry.field(default=None, description="New version number of the creator, from 1.")
    utc_offset: Duration | None = strawberry.field(default=None, description="New offset from UTC, at most 18 hours.")
    metadata: JSON | None = strawberry.field(
        default=None, description="New JSON object, which replaces the former one as a whole."
    )
    details: list[SessionDetailInput] | None = strawberry.field(
        default=None, description="Labels to set, merged key by key. Labels with an empty value are ignored."
    )
    remove_details: list[str] | None = strawberry.field(
        default=None, description=f"Keys of labels to remove, at most {REMOVED_DETAILS_MAX}."
    )
    context: JSON | None = strawberry.field(
        default=None, description="JSON object to merge into the working memory, key by key."
    )
    remove_context: list[str] | None = strawberry.field(
        default=None, description=f"Keys to remove from the working memory, at most {REMOVED_CONTEXT_MAX:,}."
    )
    max_history: int | None = strawberry.field(
        default=None, description="New maximum number of messages in its working history."
    )
    token_budget: Long | None = strawberry.field(
        default=None, description="New maximum number of tokens its runs may use, from 1."
    )
    remove_fields: list[RemovableField] | None = strawberry.field(
        default=None, description="Fields to clear: they become null. None of them may be set in the same call."
    )
    extend_ttl: Duration | None = strawberry.field(
        default=None, description="New time to live, PT1S to P3650D, starting now, as with extendSession."
    )

    def to_patch(self) -> SessionPatch:
        """The domain's value.

        Raises:
            InvalidInput: a key is given twice, or metadata or context are no JSON objects.
        """
        required = self.required_labels
        return SessionPatch(
            external_id=self.external_id,
            data_source=self.data_source,
            type=self.type,
            version=self.version,
            utc_offset=self.utc_offset,
            metadata=None if self.metadata is None else json_object(self.metadata, "metadata"),
            details=labels_of(self.details, ("details",)),
            remove_details=tuple(self.remove_details or ()),
            context=json_object(self.context, "context"),
            remove_context=tuple(self.remove_context or ()),
            max_history=self.max_history,
            token_budget=self.token_budget,
            remove_fields=tuple(self.remove_fields or ()),
            extend_ttl=self.extend_ttl,
            required_labels=None if required is None else labels_of(required, ("requiredLabels",)),
        )
