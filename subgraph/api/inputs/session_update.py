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
    description="A field of a session that may be taken off it.",
    values={
        RemovableField.EXTERNAL_ID: "The client's alias: it is free for another session.",
        RemovableField.DATA_SOURCE: "The data source: the session is none of its sessions from here on.",
        RemovableField.TOKEN_BUDGET: "The budget: its runs may use any number of tokens.",
        RemovableField.TICK_INTERVAL: "The interval: the session ticks no more.",
    },
)


@strawberry.input(description="What to change of an ACTIVE session; what is not given stays.")
class UpdateSessionInput:
    """A change."""

    id: strawberry.ID = strawberry.field(description="The session.")
    expected_revision: int | None = strawberry.field(default=None, description=EXPECTED_REVISION)
    required_labels: list[SessionDetailInput] | None = strawberry.field(
        default=None,
        description=(
            "All labels that a pod must bear to have any of its tiles; an empty list: none. Tiles on other pods move "
            f"away, make-before-break. At most {REQUIRED_LABELS_MAX}."
        ),
    )

    external_id: str | None = strawberry.field(
        default=None,
        description="Another alias of the client's own. An empty text leaves it; `removeFields` takes it off.",
    )
    data_source: str | None = strawberry.field(
        default=None, description="Another data source. An empty text leaves it; `removeFields` takes it off."
    )
    type: str | None = strawberry.field(default=None, description="Another kind of session. An empty text leaves it.")
    version: int | None = strawberry.field(default=None, description="Another version number of the creator's, from 1.")
    utc_offset: Duration | None = strawberry.field(default=None, description="Another offset, within 18 hours of UTC.")
    metadata: JSON | None = strawberry.field(
        default=None, description="A JSON object that takes the place of all that was attached."
    )
    details: list[SessionDetailInput] | None = strawberry.field(
        default=None, description="Labels to set, merged key by key. An empty value leaves its key as it is."
    )
    remove_details: list[str] | None = strawberry.field(
        default=None, description=f"Keys of labels to remove, at most {REMOVED_DETAILS_MAX}."
    )
    context: JSON | None = strawberry.field(
        default=None, description="A JSON object, merged into the working memory key by key."
    )
    remove_context: list[str] | None = strawberry.field(
        default=None, description=f"Keys to remove from the working memory, at most {REMOVED_CONTEXT_MAX:,}."
    )
    max_history: int | None = strawberry.field(default=None, description="How many messages its history keeps.")
    token_budget: Long | None = strawberry.field(
        default=None, description="Another number of tokens its runs may use, from 1."
    )
    remove_fields: list[RemovableField] | None = strawberry.field(
        default=None, description="Fields to take off, which are null then; none of them may be given as well."
    )
    extend_ttl: Duration | None = strawberry.field(
        default=None, description="A TTL that begins now and stays, as with extendSession."
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
