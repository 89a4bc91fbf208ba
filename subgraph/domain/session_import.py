"""Owns what becomes of a document: a session of its own that begins like the one that was exported, each field checked.

What is new by definition: id, owner, tenant, state, revision, all times, and the journal, which begins with where the
session came from. What happened elsewhere did not happen here, so its events are not told again.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

import msgspec

from subgraph.domain.coverage import Coverage, parse_cells, resolve_overlaps
from subgraph.domain.coverage.cells import cell_array
from subgraph.domain.document_problems import problem_of
from subgraph.domain.errors import InvalidInput
from subgraph.domain.expiry import DEFAULTS, ExpiryPolicy, SessionDefaults
from subgraph.domain.ids import ID_LENGTH_MAX, SessionId, TenantId
from subgraph.domain.journal import SessionEventType, event_of
from subgraph.domain.naming import check_name, is_retired_main, normal_name
from subgraph.domain.new_session import NewSession
from subgraph.domain.registration import RegisteredCells, TileTemplate
from subgraph.domain.session_document import (
    CELLS_MAX,
    DOCUMENT_BYTES_MAX,
    EVENTS_MAX,
    FORMAT,
    RELATIVES_MAX,
    VERSION,
    SessionDocument,
)
from subgraph.domain.sessions import Session, SessionChange, create
from subgraph.domain.sessions.titles import title_by_hand

PATH = ("document",)
SESSION_PATH = (*PATH, "session")


def read_document(given: object) -> SessionDocument:
    """A document of this version, each field of its type.

    Raises:
        InvalidInput: it is none, of another version, or beyond a limit; the path names the place in the document.
    """
    if not isinstance(given, dict) or given.get("format") != FORMAT:
        raise InvalidInput(f"a document of a session is a JSON object whose format is {FORMAT!r}", (*PATH, "format"))
    version = given.get("version")
    if version != VERSION or isinstance(version, bool):
        raise InvalidInput(
            f"version {str(version)[:32]!r} of the document is not known here: {VERSION} is",
            (*PATH, "version"),
            str(VERSION),
        )
    size = len(msgspec.json.encode(given))
    if size > DOCUMENT_BYTES_MAX:
        limit = f"{DOCUMENT_BYTES_MAX} bytes"
        raise InvalidInput(f"a document has at most {DOCUMENT_BYTES_MAX:,} bytes as JSON, not {size:,}", PATH, limit)
    try:
        document = msgspec.convert(given, SessionDocument)
    except msgspec.ValidationError as error:
        what, place = problem_of(error)
        raise InvalidInput(f"the document cannot be read: {what}", (*PATH, *place)) from error
    _bound(len(document.session.id), ID_LENGTH_MAX, "characters", "session", "id")
    _bound(len(document.hierarchy.associate_ids), RELATIVES_MAX, "entries", "hierarchy", "associateIds")
    _bound(len(document.hierarchy.parent_ids), RELATIVES_MAX, "entries", "hierarchy", "parentIds")
    _bound(sum(len(part.cells) for part in document.coverage), CELLS_MAX, "cells", "coverage")
    _bound(len(document.events), EVENTS_MAX, "entries", "events")
    return document


def coverage_of(document: SessionDocument) -> list[RegisteredCells]:
    """What is to be registered, part by part.

    Raises:
        InvalidInput: a cell is none, or contains cells of a part before.
    """
    known, parts = Coverage(), []
    for index, part in enumerate(document.coverage):
        path = (*PATH, "coverage", str(index), "cells")
        cells = parse_cells(part.cells, path=path, cells_max=CELLS_MAX)
        added = resolve_overlaps(known, cells, path).added
        known.add(added)
        parts.append(RegisteredCells(cell_array(added), TileTemplate(part.tile_capacity, part.required_labels)))
    return parts


def imported(
    document: SessionDocument,
    display_name: str | None,
    associates: Mapping[SessionId, Session],
    tenant_id: TenantId,
    owner_id: str,
    now: datetime,
    defaults: SessionDefaults = DEFAULTS,
) -> SessionChange:
    """A new ACTIVE session of the caller's from a document. A former main is an ordinary session, and expires like one.

    Its name may be one of former main sessions: whether that is free is for who settles the name.

    Args:
        document: the document.
        display_name: its name, if it is not to be the document's.
        associates: those of the document's associates that there are.
        tenant_id: the caller's.
        owner_id: the caller.
        now: when it begins.
        defaults: what it gets where the document cannot say.

    Raises:
        InvalidInput: a value is malformed or beyond a limit; the path names the place in the document.
    """
    told = document.session
    name = normal_name(told.display_name if display_name is None else display_name)
    policy = ExpiryPolicy.SLIDING if told.is_main else told.expiry_policy
    wanted = NewSession(
        display_name=None if is_retired_main(name) else name,
        data_source=told.data_source,
        type=told.type,
        version=told.version,
        utc_offset=told.utc_offset,
        details=told.details,
        metadata=told.metadata,
        required_labels=told.required_labels,
        external_id=told.external_id,
        context=told.context,
        max_history=told.max_history,
        ttl=told.ttl,
        expiry_policy=policy,
        token_budget=told.token_budget,
        tick_interval=told.tick_interval,
        associate_ids=tuple(associates),
    )
    try:
        title = None if told.title is None else title_by_hand(told.title)
        check_name(name, may_be_retired_main=True)
        change = create(wanted, tenant_id, owner_id, now, defaults, members=associates)
    except InvalidInput as refused:
        if display_name is not None and refused.path == ("displayName",):
            raise
        raise InvalidInput(refused.message, (*SESSION_PATH, *refused.path), refused.limit) from refused
    origin = {"importedFrom": {"sessionId": told.id, "exportedAt": document.exported_at.isoformat()}}
    events = tuple(
        event_of(change.created[0], event.type, event.actor, now, payload=origin)
        if event.type is SessionEventType.SESSION_STARTED
        else event
        for event in change.events
    )
    return replace(change, created=(replace(change.created[0], display_name=name, title=title),), events=events)


def _bound(count: int, limit: int, unit: str, *place: str) -> None:
    if count > limit:
        raise InvalidInput(f"at most {limit:,} {unit}, not {count:,}", (*PATH, *place), f"{limit} {unit}")
