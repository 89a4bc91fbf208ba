"""Owns how domain failures are translated: to items of `payload.errors` for mutations, to GraphQL errors otherwise."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import Enum

import strawberry
from graphql import GraphQLError

from subgraph.api.error_types import (
    AssignmentEpochStale,
    PodLeaseLost,
    RebalancePlanStale,
    SessionExpired,
    SessionIllegalState,
    SessionManagerError,
    SessionManagerErrorCode,
    SessionManagerInvalidInput,
    SessionManagerNotAllowed,
    SessionManagerNotFound,
    SessionManagerQuotaExceeded,
    SessionManagerUnavailable,
    SessionNameAmbiguous,
    SessionNameTaken,
    SessionRevisionConflict,
)
from subgraph.api.scalars import Duration, Long
from subgraph.domain import errors
from subgraph.domain.errors import SessionManagerFailure


def _path(failure: SessionManagerFailure) -> list[str] | None:
    return list(failure.path) or None


def _ids(ids: Sequence[str]) -> list[strawberry.ID]:
    return [strawberry.ID(one) for one in ids]


def to_error(failure: SessionManagerFailure) -> SessionManagerError:
    """An expected failure as an item of `payload.errors`."""
    message, path, code = failure.message, _path(failure), SessionManagerErrorCode
    match failure:
        case errors.NotFound():
            return SessionManagerNotFound(
                message=message,
                code=code.NOT_FOUND,
                path=path,
                entity=failure.entity,
                id=strawberry.ID(failure.entity_id),
            )
        case errors.NotAllowed():
            return SessionManagerNotAllowed(
                message=message, code=code.NOT_ALLOWED, path=path, required_scope=failure.required_scope
            )
        case errors.SessionExpired():
            return SessionExpired(message=message, code=code.SESSION_EXPIRED, path=path, expired_at=failure.expired_at)
        case errors.Disabled():
            return SessionManagerUnavailable(message=message, code=code.DISABLED, path=path, retry_after=None)
        case errors.IllegalState():
            return SessionIllegalState(message=message, code=code.ILLEGAL_STATE, path=path, state=failure.state)
        case errors.RevisionConflict():
            return SessionRevisionConflict(
                message=message, code=code.REVISION_CONFLICT, path=path, current_revision=failure.current_revision
            )
        case errors.NameTaken():
            holder = failure.conflicting_id
            return SessionNameTaken(
                message=message,
                code=code.NAME_TAKEN,
                path=path,
                conflicting_id=None if holder is None else strawberry.ID(holder),
            )
        case errors.NameAmbiguous():
            return SessionNameAmbiguous(
                message=message, code=code.NAME_AMBIGUOUS, path=path, candidate_ids=_ids(failure.candidate_ids)
            )
        case errors.InvalidInput():
            return SessionManagerInvalidInput(message=message, code=code.INVALID_INPUT, path=path, limit=failure.limit)
        case errors.QuotaExceeded():
            return SessionManagerQuotaExceeded(
                message=message,
                code=code.QUOTA_EXCEEDED,
                path=path,
                quota=failure.quota,
                limit=Long(failure.limit),
                current=Long(failure.current),
            )
        case errors.EpochStale():
            return AssignmentEpochStale(
                message=message,
                code=code.EPOCH_STALE,
                path=path,
                tile_id=strawberry.ID(failure.tile_id),
                current_epoch=Long(failure.current_epoch),
            )
        case errors.PlanStale():
            return RebalancePlanStale(
                message=message,
                code=code.PLAN_STALE,
                path=path,
                changed_tile_ids=_ids(failure.changed_tile_ids),
                changed_pod_ids=_ids(failure.changed_pod_ids),
            )
        case errors.LeaseLost():
            return PodLeaseLost(
                message=message,
                code=code.LEASE_LOST,
                path=path,
                pod_id=strawberry.ID(failure.pod_id),
                superseded=failure.superseded,
            )
        case errors.Unavailable():
            seconds = failure.retry_after_seconds
            return SessionManagerUnavailable(
                message=message,
                code=code.UNAVAILABLE,
                path=path,
                retry_after=None if seconds is None else Duration(timedelta(seconds=seconds)),
            )
    raise TypeError(f"{type(failure).__name__} has no GraphQL type")


def to_graphql_error(failure: SessionManagerFailure) -> GraphQLError:
    """An expected failure of a query or subscription: its code and facts in the extensions."""
    error = to_error(failure)
    facts = {
        _camel(name): _plain(value)
        for name, value in vars(error).items()
        if name not in ("message", "path", "retry_after") and value is not None
    }
    return GraphQLError(failure.message, extensions={**facts, "argumentPath": list(failure.path)})


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    return value.value if isinstance(value, Enum) else value


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.title() for part in rest)


ERROR_TYPES: Sequence[type[SessionManagerError]] = (
    SessionManagerNotFound,
    SessionExpired,
    SessionIllegalState,
    SessionRevisionConflict,
    SessionNameTaken,
    SessionNameAmbiguous,
    SessionManagerInvalidInput,
    SessionManagerQuotaExceeded,
    AssignmentEpochStale,
    RebalancePlanStale,
    PodLeaseLost,
    SessionManagerNotAllowed,
    SessionManagerUnavailable,
)
"""The error types, which the schema would not find by itself: fields only name the interface."""
