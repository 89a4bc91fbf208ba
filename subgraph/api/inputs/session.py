"""Owns the inputs about sessions."""

from datetime import timedelta
from typing import Any

import strawberry
from strawberry.scalars import JSON

from subgraph.api.inputs.coverage import TileCoverageInput
from subgraph.api.inputs.label import SessionDetailInput, labels_of
from subgraph.api.scalars import Duration
from subgraph.domain.errors import InvalidInput
from subgraph.domain.labels import REQUIRED_LABELS_MAX
from subgraph.domain.new_session import NewSession


@strawberry.input(description="A session to create. Its key is made by the server.")
class CreateSessionInput:
    """A new session."""

    display_name: str | None = strawberry.field(
        default=None, description="Label, unique in the tenant; made up if absent."
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

    def to_new_session(self) -> NewSession:
        """The domain's value.

        Raises:
            InvalidInput: a detail or a required label is given twice, or the metadata is no JSON object.
        """
        metadata: Any = {} if self.metadata is None else self.metadata
        if not isinstance(metadata, dict):
            raise InvalidInput("metadata must be a JSON object", ("metadata",))
        return NewSession(
            display_name=self.display_name,
            data_source=self.data_source,
            type=self.type,
            version=self.version,
            utc_offset=self.utc_offset,
            details=labels_of(self.details, ("details",)),
            metadata=metadata,
            required_labels=labels_of(self.required_labels, ("requiredLabels",)),
        )


@strawberry.input(description="What to change of an ACTIVE session; what is not given stays.")
class UpdateSessionInput:
    """A change."""

    id: strawberry.ID = strawberry.field(description="The session.")
    expected_revision: int | None = strawberry.field(
        default=None, description="If given, the session must be at this revision."
    )
    required_labels: list[SessionDetailInput] | None = strawberry.field(
        default=None,
        description=(
            "All labels that a pod must bear to have any of its tiles; an empty list: none. Tiles on other pods move "
            f"away, make-before-break. At most {REQUIRED_LABELS_MAX}."
        ),
    )

    def to_required_labels(self) -> dict[str, str] | None:
        """The labels to require; None: what is required stays.

        Raises:
            InvalidInput: a key is given twice.
        """
        return None if self.required_labels is None else labels_of(self.required_labels, ("requiredLabels",))


@strawberry.input(description="A session to end.")
class EndSessionInput:
    """A session to end."""

    id: strawberry.ID = strawberry.field(description="The session.")
    data_source: str | None = strawberry.field(default=None, description="If given, it must be the session's.")
    expected_revision: int | None = strawberry.field(
        default=None, description="If given, the session must be at this revision."
    )
