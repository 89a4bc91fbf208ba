"""Owns what journals tell of how sessions are related: each names only what all of its readers may see."""

from collections.abc import Sequence
from datetime import datetime

from subgraph.domain.journal import SessionEvent, SessionEventType, event_of
from subgraph.domain.sessions.record import Session


def told_of_associates(
    parent: Session, associates: Sequence[Session], event_type: SessionEventType, actor: str, now: datetime
) -> tuple[SessionEvent, ...]:
    """What is told where sessions become associates of a parent, or cease to be, by whatever way: one event of each.

    The parent is told of those associates that may be named in its journal, and each associate of the parent if that
    may be named in its own.
    """
    if not associates:
        return ()
    named = [one.id for one in associates if may_be_named(one, parent)]
    of_parent = event_of(parent, event_type, actor, now, payload={"associateIds": named})
    of_associates = (
        event_of(one, event_type, actor, now, payload={"parentId": parent.id})
        for one in associates
        if may_be_named(parent, one)
    )
    return (of_parent, *of_associates)


def may_be_named(session: Session, told_to: Session) -> bool:
    """Whether all who read the journal of a session may see another one, which may then be named in it.

    A main session's journal is read by the whole tenant, others by their owner.
    """
    return session.is_main or (session.owner_id == told_to.owner_id and not told_to.is_main)
