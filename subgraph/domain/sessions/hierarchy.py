"""Owns the hierarchy of sessions: which associations are allowed, and what is told of them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from subgraph.domain.errors import InvalidInput
from subgraph.domain.ids import SessionId
from subgraph.domain.journal import SessionEventType
from subgraph.domain.sessions.lifecycle import active, as_of, changed, check_revision, require_active
from subgraph.domain.sessions.record import Association, Session, SessionChange
from subgraph.domain.sessions.relations import told_of_associates

ASSOCIATES_PER_CALL_MAX = 100


@dataclass(frozen=True, slots=True)
class Family:
    """What a decision on a parent's associates needs: the sessions at hand, and how they stand to the parent.

    `ancestors` are all sessions from which the parent is reached, `associates` those that the parent has already.
    """

    parent: Session
    members: Mapping[SessionId, Session]
    ancestors: Collection[SessionId]
    associates: Collection[SessionId]


def check_associates(parent_id: SessionId | None, associate_ids: Sequence[SessionId]) -> None:
    """Refuse associates that are too many, or the session itself.

    Raises:
        InvalidInput: naming the entry or the limit.
    """
    if len(associate_ids) > ASSOCIATES_PER_CALL_MAX:
        limit = f"{ASSOCIATES_PER_CALL_MAX} associates"
        raise InvalidInput(f"at most {limit} a call, not {len(associate_ids):,}", ("associateIds",), limit)
    if parent_id in associate_ids:
        place = str(associate_ids.index(parent_id))
        raise InvalidInput("a session cannot be an associate of itself", ("associateIds", place))


def associate(
    family: Family,
    associate_ids: Sequence[SessionId],
    *,
    actor: str,
    now: datetime,
    expected_revision: int | None = None,
) -> SessionChange:
    """Make sessions associates of a parent; those that are already stay so, and are not told of again.

    Raises:
        IllegalState, SessionExpired, NotFound: the parent is not ACTIVE.
        InvalidInput: one is the parent itself, or above it: there would be a cycle.
        RevisionConflict: `expected_revision` is given and is not the parent's.
    """
    parent = family.parent
    require_active(as_of(parent, now), ("parentId",))
    check_revision(parent, expected_revision)
    check_associates(parent.id, associate_ids)
    for index, associate_id in enumerate(associate_ids):
        if associate_id in family.ancestors:
            raise InvalidInput(
                f"session {associate_id!r} is above {parent.id!r}: there would be a cycle", ("associateIds", str(index))
            )
    new = [one for one in dict.fromkeys(associate_ids) if one not in family.associates]
    change = _told(family, new, SessionEventType.SESSION_ASSOCIATED, actor, now)
    return replace(change, associated=tuple(Association(parent.id, one) for one in new))


def dissociate(
    family: Family,
    associate_ids: Sequence[SessionId],
    *,
    actor: str,
    now: datetime,
    expected_revision: int | None = None,
) -> SessionChange:
    """Have sessions be associates of a parent no more; those that are none stay so.

    Raises:
        IllegalState, SessionExpired, NotFound: the parent is not ACTIVE.
        InvalidInput: they are too many.
        RevisionConflict: `expected_revision` is given and is not the parent's.
    """
    parent = family.parent
    require_active(as_of(parent, now), ("parentId",))
    check_revision(parent, expected_revision)
    check_associates(parent.id, associate_ids)
    former = [one for one in dict.fromkeys(associate_ids) if one in family.associates]
    change = _told(family, former, SessionEventType.SESSION_DISSOCIATED, actor, now)
    return replace(change, dissociated=tuple(Association(parent.id, one) for one in former))


def _told(
    family: Family, associate_ids: Sequence[SessionId], event_type: SessionEventType, actor: str, now: datetime
) -> SessionChange:
    if not associate_ids:
        return SessionChange()
    parent = family.parent
    associates = [family.members[one] for one in associate_ids]
    events = told_of_associates(parent, associates, event_type, actor, now)
    return changed(parent, active(parent, now), now, events)
