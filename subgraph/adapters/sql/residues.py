"""Owns the search of SQL for traces of an owner: every text of every row of every table, page by page."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Column, Connection, MetaData, Select, Table, select, tuple_

from subgraph.adapters.sql.database import Database
from subgraph.adapters.sql.rows import payload_of
from subgraph.adapters.sql.tables import METADATA
from subgraph.domain.erasure import Traces
from subgraph.domain.ids import TenantId
from subgraph.operations.transfer.owner_records import Residues

ROWS_PER_READ = 2_000

_TENANT = "tenant_id"
_WHERE = frozenset({_TENANT, "fleet_id"})
"""Columns that say where a row belongs: a tenant or a fleet may be called like somebody."""
_OF_PEOPLE = ("owner_id", "actor", "_by")
_OWN_WORDS = frozenset({"state", "expiry_policy", "operation", "reason"})
"""Columns that hold words of the software's own: somebody may be called like one."""
_EVENT = frozenset({"type", "payload_json"})
"""Columns by which a row is known to be an event, whose type says whom its payload can name."""


class SqlResidueScan:
    """The port ResidueScan on SQL. It knows no table by name, so that those to come are looked through as well."""

    def __init__(self, database: Database, metadata: MetaData = METADATA) -> None:
        self._database = database
        self._tables = metadata.sorted_tables

    async def residues(self, tenant_id: TenantId, traces: Traces) -> Residues:
        """How many rows of which table bear traces."""
        found: Counter[str] = Counter()
        for table in self._tables:
            found[f"table {table.name}"] = await self._in_table(table, tenant_id, traces)
        return +found

    async def _in_table(self, table: Table, tenant_id: TenantId, traces: Traces) -> int:
        key, names = list(table.primary_key.columns), [column.name for column in table.columns]
        page = select(table).order_by(*key).limit(ROWS_PER_READ)
        found, after = 0, None
        while True:
            wanted = page if after is None else page.where(_behind(key, after))

            def look(connection: Connection, wanted: Select[Any] = wanted) -> tuple[int, int, Sequence[Any] | None]:
                rows = connection.execute(wanted).all()
                bearing = sum(_bears(tuple(row), names, tenant_id, traces) for row in rows)
                last = None if not rows else [rows[-1][names.index(column.name)] for column in key]
                return bearing, len(rows), last

            bearing, count, after = await self._database.read(look)
            found += bearing
            if count < ROWS_PER_READ:
                return found


def _behind(key: Sequence[Column[Any]], after: Sequence[Any]) -> Any:
    return key[0] > after[0] if len(key) == 1 else tuple_(*key) > tuple_(*after)


def _bears(row: Sequence[Any], names: Sequence[str], tenant_id: TenantId, traces: Traces) -> bool:
    # By what is in it, not by what its column is said to be.
    texts = {name: value for name, value in zip(names, row, strict=True) if type(value) is str}
    of_tenant = texts.get(_TENANT)
    some = {name: value for name, value in texts.items() if name not in _WHERE and name not in _OWN_WORDS}
    if _TENANT in names:
        is_event = of_tenant == tenant_id and _EVENT.issubset(names)
        of_event = {name: some.pop(name) for name in _EVENT & some.keys()} if is_event else {}
        return traces.in_texts(some.values(), owner_counts=of_tenant == tenant_id) or _told_of(of_event, traces)
    # Where nobody says whose a row is, the owner's id counts in columns that are there for people.
    of_people = [value for name, value in texts.items() if name.endswith(_OF_PEOPLE)]
    return traces.in_texts(some.values(), owner_counts=False) or any(map(traces.of_owner, of_people))


def _told_of(event: Mapping[str, str], traces: Traces) -> bool:
    """Whether the payload of an event names somebody who is to be erased from it."""
    stored = event.get("payload_json")
    if stored is None or not traces.in_texts([stored], owner_counts=True):
        return False
    payload = payload_of(stored)
    return traces.of_sessions(stored) or (
        payload is not None and traces.erased_from_payload(event["type"], payload) != payload
    )
