"""Owns what failures look like in GraphQL: their codes, and a type for each with its facts."""

from datetime import datetime
from enum import Enum

import strawberry

from subgraph.api.descriptions import show_enum
from subgraph.api.scalars import Duration, Long


class SessionManagerErrorCode(Enum):
    """Codes of expected failures."""

    NOT_FOUND = "NOT_FOUND"
    SESSION_EXPIRED = "SESSION_EXPIRED"
    DISABLED = "DISABLED"
    ILLEGAL_STATE = "ILLEGAL_STATE"
    REVISION_CONFLICT = "REVISION_CONFLICT"
    NAME_TAKEN = "NAME_TAKEN"
    NAME_AMBIGUOUS = "NAME_AMBIGUOUS"
    INVALID_INPUT = "INVALID_INPUT"
    QUOTA_EXCEEDED = "QUOTA_EXCEEDED"
    EPOCH_STALE = "EPOCH_STALE"
    PLAN_STALE = "PLAN_STALE"
    LEASE_LOST = "LEASE_LOST"
    NOT_ALLOWED = "NOT_ALLOWED"
    UNAVAILABLE = "UNAVAILABLE"


_Code = SessionManagerErrorCode
show_enum(
    SessionManagerErrorCode,
    name="SessionManagerErrorCode",
    description=(
        "Machine-readable code of a failure: `code` in a mutation's `errors`, `extensions.code` in errors of "
        "queries and subscriptions. docs/errors.md lists all codes."
    ),
    values={
        _Code.NOT_FOUND: "There is no such entity, or the caller may not see it.",
        _Code.SESSION_EXPIRED: "The session has expired; extendSession revives it.",
        _Code.DISABLED: "Session management is disabled on this server: mutations and subscriptions are refused.",
        _Code.ILLEGAL_STATE: "The entity's state does not allow the operation: read it again.",
        _Code.REVISION_CONFLICT: "The session is not at `expectedRevision`: read it again and retry.",
        _Code.NAME_TAKEN: "Another session of the tenant has the name or the external id.",
        _Code.NAME_AMBIGUOUS: "A reference matches several sessions: use an id instead.",
        _Code.INVALID_INPUT: "A value is malformed or exceeds a limit; retrying does not help.",
        _Code.QUOTA_EXCEEDED: "A quota is exhausted.",
        _Code.EPOCH_STALE: "The epoch given by the pod is not the tile's current one.",
        _Code.PLAN_STALE: "The plan has expired, or tiles or pods it affects have changed: make a new one.",
        _Code.LEASE_LOST: "The lease token does not belong to a running instance of the pod.",
        _Code.NOT_ALLOWED: "The caller lacks the scope `requiredScope`.",
        _Code.UNAVAILABLE: "A store cannot be reached, or this process lags behind the fleet: retry later.",
    },
)


_MESSAGE = "Human-readable description."
_CODE = "Machine-readable code."
_PATH = "Path of the input field that caused the error, outermost first; null if no single field did."


@strawberry.interface(
    description="An expected failure of a mutation, returned as data. Each implementation adds details."
)
class SessionManagerError:
    """What all failures have."""

    message: str = strawberry.field(description=_MESSAGE)
    code: SessionManagerErrorCode = strawberry.field(description=_CODE)
    path: list[str] | None = strawberry.field(description=_PATH)


@strawberry.type(description="NOT_FOUND: there is no such entity, or the caller may not see it.")
class SessionManagerNotFound(SessionManagerError):
    """NOT_FOUND."""

    entity: str = strawberry.field(description="The kind of entity: Session, Tile, Pod, …")
    id: strawberry.ID = strawberry.field(description="The id that was not found.")


@strawberry.type(description="The session has expired; extendSession revives it.")
class SessionExpired(SessionManagerError):
    """SESSION_EXPIRED."""

    expired_at: datetime = strawberry.field(description="When the session expired.")


@strawberry.type(description="ILLEGAL_STATE: the entity's state does not allow the operation.")
class SessionIllegalState(SessionManagerError):
    """ILLEGAL_STATE."""

    state: str = strawberry.field(description="The current state.")


@strawberry.type(description="REVISION_CONFLICT: the session is not at `expectedRevision`.")
class SessionRevisionConflict(SessionManagerError):
    """REVISION_CONFLICT."""

    current_revision: int = strawberry.field(description="The session's current revision.")


@strawberry.type(
    description=(
        "NAME_TAKEN: another session of the tenant has the name or the external id; `path` tells which of them."
    )
)
class SessionNameTaken(SessionManagerError):
    """NAME_TAKEN."""

    conflicting_id: strawberry.ID | None = strawberry.field(
        description="Id of the other session; null if the caller may not see it."
    )


@strawberry.type(description="NAME_AMBIGUOUS: a reference matches several sessions.")
class SessionNameAmbiguous(SessionManagerError):
    """NAME_AMBIGUOUS."""

    candidate_ids: list[strawberry.ID] = strawberry.field(description="Ids of matching sessions, at most 20.")


@strawberry.type(description="INVALID_INPUT: a value is malformed or exceeds a limit.")
class SessionManagerInvalidInput(SessionManagerError):
    """INVALID_INPUT."""

    limit: str | None = strawberry.field(description="The limit that was exceeded; null if the value is malformed.")


@strawberry.type(description="QUOTA_EXCEEDED: the operation would exceed a quota.")
class SessionManagerQuotaExceeded(SessionManagerError):
    """QUOTA_EXCEEDED."""

    quota: str = strawberry.field(description="Name of the quota.")
    limit: Long = strawberry.field(description="The maximum.")
    current: Long = strawberry.field(description="The number that the operation would have led to.")


@strawberry.type(description="The epoch given by the pod is not the tile's current one.")
class AssignmentEpochStale(SessionManagerError):
    """EPOCH_STALE."""

    tile_id: strawberry.ID = strawberry.field(description="The tile.")
    current_epoch: Long = strawberry.field(description="The current epoch; 0 if the tile has no owner or is unknown.")


@strawberry.type(description="PLAN_STALE: the plan has expired, or tiles or pods it affects have changed.")
class RebalancePlanStale(SessionManagerError):
    """PLAN_STALE."""

    changed_tile_ids: list[strawberry.ID] = strawberry.field(
        description="Ids of tiles that changed since the plan was made."
    )
    changed_pod_ids: list[strawberry.ID] = strawberry.field(
        description="Ids of pods that changed since the plan was made."
    )


@strawberry.type(
    description=(
        "LEASE_LOST: the lease token does not belong to a running instance of the pod. Register again, unless "
        "`superseded`."
    )
)
class PodLeaseLost(SessionManagerError):
    """LEASE_LOST."""

    pod_id: strawberry.ID = strawberry.field(description="The pod.")
    superseded: bool = strawberry.field(
        description="Whether another instance has registered under this id: then do not register again."
    )


@strawberry.type(description="NOT_ALLOWED: the caller lacks a scope.")
class SessionManagerNotAllowed(SessionManagerError):
    """NOT_ALLOWED."""

    required_scope: str = strawberry.field(description="A scope that suffices.")


@strawberry.type(
    description=(
        "UNAVAILABLE: a store cannot be reached, or this process lags behind the fleet: retry later. DISABLED: "
        "session management is disabled on this server."
    )
)
class SessionManagerUnavailable(SessionManagerError):
    """UNAVAILABLE or DISABLED."""

    retry_after: Duration | None = strawberry.field(description="How long to wait before a retry; null if unknown.")
