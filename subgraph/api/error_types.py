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
        "What went wrong, for programs: `code` in a mutation's errors, `extensions.code` in those of queries and "
        "subscriptions. All that may stand there besides is in docs/errors.md."
    ),
    values={
        _Code.NOT_FOUND: "Nothing of that kind and id is there, or the caller may not see it.",
        _Code.SESSION_EXPIRED: "The session's time has run out: extendSession revives it.",
        _Code.DISABLED: "Session management is switched off here: nothing can be changed or followed.",
        _Code.ILLEGAL_STATE: "The entity's state does not allow what was asked: read it anew.",
        _Code.REVISION_CONFLICT: "The session is not at `expectedRevision`: read it anew, and decide again.",
        _Code.NAME_TAKEN: "Another session of the tenant bears the name, or the external id.",
        _Code.NAME_AMBIGUOUS: "A reference fits several sessions: refer to one by its id.",
        _Code.INVALID_INPUT: "A value is malformed or beyond a limit: it will be refused again.",
        _Code.QUOTA_EXCEEDED: "A limit on how many there may be is reached.",
        _Code.EPOCH_STALE: "The pod speaks for a term of ownership that is not in force.",
        _Code.PLAN_STALE: "What the plan touches has changed, or it has expired: plan anew.",
        _Code.LEASE_LOST: "The lease token is not that of a running instance of the pod.",
        _Code.NOT_ALLOWED: "The caller lacks a scope: `requiredScope` would be enough.",
        _Code.UNAVAILABLE: "A store cannot be reached, or this process lags behind the fleet: try again.",
    },
)


_MESSAGE = "What went wrong, for people."
_CODE = "What went wrong, for programs."
_PATH = "The input field it is about, outermost first; null when it is about none."


@strawberry.interface(description="An expected failure of a mutation: data, with its facts.")
class SessionManagerError:
    """What all failures have."""

    message: str = strawberry.field(description=_MESSAGE)
    code: SessionManagerErrorCode = strawberry.field(description=_CODE)
    path: list[str] | None = strawberry.field(description=_PATH)


@strawberry.type(description="Nothing of that kind and id is visible to the caller.")
class SessionManagerNotFound(SessionManagerError):
    """NOT_FOUND."""

    entity: str = strawberry.field(description="What was sought: Session, Tile, Pod, …")
    id: strawberry.ID = strawberry.field(description="The id that was given.")


@strawberry.type(description="The session's time has run out; extendSession revives it.")
class SessionExpired(SessionManagerError):
    """SESSION_EXPIRED."""

    expired_at: datetime = strawberry.field(description="When its time ran out.")


@strawberry.type(description="The entity's state does not allow what was asked.")
class SessionIllegalState(SessionManagerError):
    """ILLEGAL_STATE."""

    state: str = strawberry.field(description="The state it is in.")


@strawberry.type(description="The session changed since it was read.")
class SessionRevisionConflict(SessionManagerError):
    """REVISION_CONFLICT."""

    current_revision: int = strawberry.field(description="The revision it is at.")


@strawberry.type(description="Another session of the tenant has the name or the external id; `path` says which.")
class SessionNameTaken(SessionManagerError):
    """NAME_TAKEN."""

    conflicting_id: strawberry.ID | None = strawberry.field(
        description="The session that has it; null if the caller may not see it."
    )


@strawberry.type(description="A reference to one session fits several: none of them is chosen.")
class SessionNameAmbiguous(SessionManagerError):
    """NAME_AMBIGUOUS."""

    candidate_ids: list[strawberry.ID] = strawberry.field(description="Sessions that it fits, up to 20 of them.")


@strawberry.type(description="A value is malformed or beyond a limit.")
class SessionManagerInvalidInput(SessionManagerError):
    """INVALID_INPUT."""

    limit: str | None = strawberry.field(description="The limit it broke, where there is one.")


@strawberry.type(description="A stated limit on how many there may be is reached.")
class SessionManagerQuotaExceeded(SessionManagerError):
    """QUOTA_EXCEEDED."""

    quota: str = strawberry.field(description="What is limited.")
    limit: Long = strawberry.field(description="How many there may be.")
    current: Long = strawberry.field(description="How many there would be.")


@strawberry.type(description="The pod speaks for a term of ownership that is not in force.")
class AssignmentEpochStale(SessionManagerError):
    """EPOCH_STALE."""

    tile_id: strawberry.ID = strawberry.field(description="The tile.")
    current_epoch: Long = strawberry.field(description="The epoch in force; 0 when nobody owns the tile.")


@strawberry.type(description="What the plan touches has changed, or the plan has expired.")
class RebalancePlanStale(SessionManagerError):
    """PLAN_STALE."""

    changed_tile_ids: list[strawberry.ID] = strawberry.field(description="Tiles that changed since.")
    changed_pod_ids: list[strawberry.ID] = strawberry.field(description="Pods that changed since.")


@strawberry.type(description="The lease token is not that of a running instance of the pod: register again.")
class PodLeaseLost(SessionManagerError):
    """LEASE_LOST."""

    pod_id: strawberry.ID = strawberry.field(description="The pod.")
    superseded: bool = strawberry.field(
        description="Whether another instance has registered since: then do not register again."
    )


@strawberry.type(description="The caller lacks a scope.")
class SessionManagerNotAllowed(SessionManagerError):
    """NOT_ALLOWED."""

    required_scope: str = strawberry.field(description="The scope that would be enough.")


@strawberry.type(
    description=(
        "UNAVAILABLE: a store cannot be reached, or this process lags behind the fleet: try again. DISABLED: session "
        "management is switched off here."
    )
)
class SessionManagerUnavailable(SessionManagerError):
    """UNAVAILABLE or DISABLED."""

    retry_after: Duration | None = strawberry.field(description="When to try again, if that is known.")
