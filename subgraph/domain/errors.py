"""Owns every failure a caller can expect, each with its facts; `api/errors.py` translates them once, at the edge."""

from collections.abc import Sequence
from datetime import datetime


class SessionManagerFailure(Exception):
    """An expected failure. `message` is for people; `path` names the input field it is about, outermost first."""

    def __init__(self, message: str, path: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.path = path


class NotFound(SessionManagerFailure):
    """Nothing of that kind and id is visible to the caller."""

    def __init__(self, entity: str, entity_id: str, path: tuple[str, ...] = ()) -> None:
        super().__init__(f"{entity} {entity_id!r} does not exist", path)
        self.entity = entity
        self.entity_id = entity_id


class NotAllowed(SessionManagerFailure):
    """The caller lacks a scope for what it asked; of what it may not even see it is told NotFound."""

    def __init__(self, required_scope: str, path: tuple[str, ...] = ()) -> None:
        super().__init__(f"this needs the scope {required_scope}", path)
        self.required_scope = str(required_scope)


class IllegalState(SessionManagerFailure):
    """The entity is in a state that does not allow what was asked."""

    def __init__(self, message: str, state: str, path: tuple[str, ...] = ()) -> None:
        super().__init__(message, path)
        self.state = state


class SessionExpired(SessionManagerFailure):
    """The session's time has run out; extending it revives it."""

    def __init__(self, session_id: str, expired_at: datetime, path: tuple[str, ...] = ()) -> None:
        super().__init__(f"session {session_id!r} has expired: extend it to go on with it", path)
        self.expired_at = expired_at


class Disabled(SessionManagerFailure):
    """Session management is switched off: nothing can be changed, and nothing followed."""

    def __init__(self) -> None:
        super().__init__("session management is disabled here (SESSION_MANAGER_ENABLED=false)")


class InvalidInput(SessionManagerFailure):
    """A value is malformed or beyond a limit; `limit` states the bound it broke, where there is one."""

    def __init__(self, message: str, path: tuple[str, ...] = (), limit: str | None = None) -> None:
        super().__init__(message, path)
        self.limit = limit


class RevisionConflict(SessionManagerFailure):
    """The session changed since the caller read it."""

    def __init__(self, session_id: str, current_revision: int, path: tuple[str, ...] = ()) -> None:
        super().__init__(f"session {session_id!r} is at revision {current_revision} by now", path)
        self.current_revision = current_revision


class NameTaken(SessionManagerFailure):
    """Another session of the tenant has the name, or the external id if `path` ends with `externalId`.

    `conflicting_id` names that session; None if the caller may not see it. An expired session keeps its name:
    `has_expired` tells so, and how to free the name.
    """

    def __init__(
        self,
        display_name: str,
        conflicting_id: str | None,
        path: tuple[str, ...] = (),
        *,
        has_expired: bool = False,
    ) -> None:
        what = "external id" if path[-1:] == ("externalId",) else "name"
        by = "another session" if conflicting_id is None else f"session {conflicting_id!r}"
        hint = ", which has expired: extendSession revives it, deleteSession frees the name" if has_expired else ""
        super().__init__(f"the {what} {display_name!r} is taken by {by}{hint}", path)
        self.display_name = display_name
        self.conflicting_id = conflicting_id
        self.has_expired = has_expired


class NameAmbiguous(SessionManagerFailure):
    """A reference to one session fits several; `candidate_ids` are some of them, or all."""

    def __init__(self, text: str, candidate_ids: Sequence[str], path: tuple[str, ...] = ()) -> None:
        super().__init__(f"{text[:200]!r} fits {len(candidate_ids)} sessions or more: refer to one by its id", path)
        self.candidate_ids = tuple(candidate_ids)


class EpochStale(SessionManagerFailure):
    """The epoch given by a pod is not the tile's current one, which is 0 if the tile has no owner or is unknown.

    Unknown tiles are not NOT_FOUND: a tile may be removed, or not be known to this process yet, while its pod reports.
    """

    def __init__(self, tile_id: str, epoch: int, current_epoch: int, path: tuple[str, ...] = ()) -> None:
        current = f"the current epoch is {current_epoch}" if current_epoch else "the tile has no owner, or is unknown"
        super().__init__(f"epoch {epoch} of tile {tile_id!r} is stale: {current}", path)
        self.tile_id = tile_id
        self.current_epoch = current_epoch


class PlanStale(SessionManagerFailure):
    """What a rebalance plan touches has changed since it was made, or the plan has expired."""

    def __init__(self, message: str, tile_ids: Sequence[str], pod_ids: Sequence[str]) -> None:
        super().__init__(message, ("planId",))
        self.changed_tile_ids = tuple(tile_ids)
        self.changed_pod_ids = tuple(pod_ids)


class LeaseLost(SessionManagerFailure):
    """The lease token is not the one of the pod's running instance, or no instance runs: the pod was lost, or left.

    `superseded`: another instance has registered since, so registering again would only fence that one in turn.
    """

    def __init__(self, pod_id: str, message: str, path: tuple[str, ...] = (), *, superseded: bool = False) -> None:
        super().__init__(message, path)
        self.pod_id = pod_id
        self.superseded = superseded


class QuotaExceeded(SessionManagerFailure):
    """A stated limit on how many there may be is reached."""

    def __init__(self, quota: str, limit: int, current: int, path: tuple[str, ...] = ()) -> None:
        super().__init__(f"at most {limit:,} {quota}; this would make {current:,}", path)
        self.quota = quota
        self.limit = limit
        self.current = current


class Unavailable(SessionManagerFailure):
    """A store cannot be reached, or this process cannot vouch for its picture of the fleet; try again."""

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
