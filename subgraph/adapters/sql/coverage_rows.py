"""Owns the rows a registration writes in SQL: a packed row with its tiles' initial state, and its event."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, insert

from subgraph.adapters.sql.journal import write_events
from subgraph.adapters.sql.tables import REGISTERED_CELLS
from subgraph.domain.coverage.cells import CellArray
from subgraph.domain.coverage.packing import pack_cells
from subgraph.domain.ids import tile_id
from subgraph.domain.journal import SessionEvent, SessionEventType, event_of
from subgraph.domain.registration import NewCoverage, TileTemplate
from subgraph.domain.sessions import Session

TILES_TOLD_MAX = 100
"""An event counts all tiles that were registered or unregistered, and names so many."""

_encoder = msgspec.json.Encoder(order="deterministic")


def write_new_coverage(connection: Connection, session: Session, coverage: NewCoverage) -> None:
    """Register the coverage of a session that was just made, in the transaction that makes it."""
    parts = [part for part in coverage.parts if part.cells.size]
    if parts:
        rows = [coverage_row(coverage.fleet_id, session, part.cells, encode_template(part.template)) for part in parts]
        connection.execute(insert(REGISTERED_CELLS), rows)
        at, event_type = session.created_at, SessionEventType.TILES_REGISTERED
        write_events(
            connection, [told_of_cells(session, event_type, part.cells, session.owner_id, at) for part in parts]
        )


def coverage_row(fleet_id: str, session: Session, cells: CellArray, template_json: str) -> Mapping[str, Any]:
    """A row of cells that begin alike."""
    return {
        "fleet_id": fleet_id,
        "session_id": session.id,
        "cell_count": cells.size,
        "cells": pack_cells(cells),
        "template_json": template_json,
    }


def encode_template(template: TileTemplate) -> str:
    """What tiles begin as: the same text for what is the same."""
    return _encoder.encode(template).decode()


def told_of_cells(
    session: Session, event_type: SessionEventType, cells: CellArray, actor: str | None, at: datetime
) -> SessionEvent:
    """What the journal tells of a registration, or its end."""
    some = [tile_id(session.id, cell) for cell in cells[:TILES_TOLD_MAX].tolist()]
    payload = {"count": int(cells.size), "tiles": [{"tileId": one} for one in some]}
    return event_of(session, event_type, actor, at, payload=payload)
