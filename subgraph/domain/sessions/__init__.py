"""Owns the session: what it is, how it comes to be, what may be changed of it, and its lifecycle as one table."""

from subgraph.domain.sessions.changes import release_external_id, rename, touch, update
from subgraph.domain.sessions.creation import create, create_main
from subgraph.domain.sessions.lifecycle import (
    TRANSITIONS,
    as_of,
    delete,
    end,
    expire,
    extend,
    purge,
    require_active,
    restore,
)
from subgraph.domain.sessions.patch import SessionPatch, check_patch
from subgraph.domain.sessions.record import Session, SessionChange, SessionState

__all__ = [
    "TRANSITIONS",
    "Session",
    "SessionChange",
    "SessionPatch",
    "SessionState",
    "as_of",
    "check_patch",
    "create",
    "create_main",
    "delete",
    "end",
    "expire",
    "extend",
    "purge",
    "release_external_id",
    "rename",
    "require_active",
    "restore",
    "touch",
    "update",
]
