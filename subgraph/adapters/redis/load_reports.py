"""Owns the stream of load reports in Redis: handing them in with a lease, reading them, and setting bad ones aside."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from importlib.resources import files

from redis.asyncio import Redis
from redis.exceptions import ResponseError
from redis.typing import EncodableT, FieldT

from subgraph.adapters.redis import codec
from subgraph.adapters.redis.connection import told_as_unavailable
from subgraph.domain.errors import Unavailable
from subgraph.domain.ids import PodId, SessionId
from subgraph.domain.load_report import LoadReport, join_reports
from subgraph.operations.fleet.fleet_pulse import LoadReading
from subgraph.operations.fleet.fleet_writes import PodLease

logger = logging.getLogger(__name__)

REPLAYED_MS = 5_000
READ_BLOCK_MS = 1_000
REPORTS_PER_READ = 100
CELLS_JOINED_BYTES_MAX = 400_000
"""Up to this size (50,000 tiles) reports are joined: while they are taken over, nothing else of the process runs."""

SET_ASIDE_MAX = 1_000
SET_ASIDE_BYTES_MAX = 4_096
"""So many malformed reports are kept, and so much of each column, for whoever looks for the pod that sends them."""

Entry = tuple[str, Mapping[bytes, bytes]]

COLUMNS = ("cells", "epochs", "records_per_second", "bytes_per_second", "volume_bytes", "backlog")


class RedisLoadReports:
    """The load reports of one fleet."""

    def __init__(self, redis: Redis, key: Callable[[str], str]) -> None:
        self._redis = redis
        self._loads, self._set_aside = key("loads"), key("loads-set-aside")
        self._keys = [key(name) for name in ("tokens", "leases", "applied", "loads", "intake")]
        # The same script that pods may call by themselves.
        source = files("subgraph.client") / "scripts" / "renew_lease.lua"
        self._renew = redis.register_script(source.read_text(encoding="utf-8"))

    async def renew(self, lease: PodLease, applied_version: int | None, report: LoadReport | None) -> None:
        """Renew a pod's lease, and hand its report in.

        Raises:
            ResponseError: LEASELOST.
            Unavailable: Redis does not answer, takes no report at the moment, or may have forgotten who runs.
        """
        applied = "" if applied_version is None else str(applied_version)
        arguments: list[str | bytes] = [lease.pod_id, lease.token, applied]
        if report is not None:
            arguments.append("\n".join(f"{count} {session_id}" for session_id, count in report.sessions))
            arguments += [getattr(report, column) for column in COLUMNS]
        with told_as_unavailable():
            try:
                answer = await self._renew(keys=self._keys, args=arguments)
            except ResponseError as error:
                code, _, message = str(error).partition(" ")
                if code == "NOTADOPTED":
                    raise Unavailable(message, retry_after_seconds=1.0) from error
                raise
        if answer == b"SLOW":
            raise Unavailable("more load reports came of late than may be kept: report less often", 1.0)

    async def follow(self, now_ms: int) -> AsyncIterator[LoadReading]:
        """The reports of the last seconds, then all to come."""
        cursor = f"{now_ms - REPLAYED_MS}-0"
        while True:
            with told_as_unavailable():
                answer = await self._redis.xread({self._loads: cursor}, REPORTS_PER_READ, READ_BLOCK_MS)
            for entries in _parts(codec.stream_entries(answer)):
                cursor = entries[-1][0]
                yield await self._joined(entries)
                await asyncio.sleep(0)
            if not answer:
                # A blocking read that times out at once (a closing client) must not spin.
                await asyncio.sleep(0)

    async def _joined(self, entries: Sequence[Entry]) -> LoadReading:
        reports: list[tuple[int, LoadReport]] = []
        malformed: list[tuple[int, str]] = []
        places: list[int] = []
        for place, (entry_id, fields) in enumerate(entries):
            try:
                reports.append((int(entry_id.partition("-")[0]), _report(fields)))
            except (LookupError, ValueError) as error:
                malformed.append((place, f"it cannot be read: {error!r}"))
            else:
                places.append(place)
        columns, wrong = join_reports(reports)
        malformed += [(places[one.index], one.why) for one in wrong]
        for place, why in sorted(malformed):
            await self._put_aside(*entries[place], why)
        return LoadReading(columns, len(malformed))

    async def _put_aside(self, entry_id: str, fields: Mapping[bytes, bytes], why: str) -> None:
        # Whoever else writes into the stream must not end every process that reads it.
        logger.warning("load report %s of pod %r is passed over: %s", entry_id, fields.get(b"pod"), why)
        kept: dict[FieldT, EncodableT] = {
            name[:64]: value[:SET_ASIDE_BYTES_MAX] for name, value in [*fields.items()][:20]
        }
        try:
            with told_as_unavailable():
                # Under its own id, which a stream takes once: every process that reads the report sets it aside.
                await self._redis.xadd(
                    self._set_aside, {**kept, b"why": why.encode()}, entry_id, SET_ASIDE_MAX, approximate=True
                )
        except ResponseError as error:
            if "equal or smaller" not in str(error):
                logger.warning("load report %s could not be set aside: %s", entry_id, error)


def _parts(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    part: list[Entry] = []
    size = 0
    for entry in entries:
        cells = len(entry[1].get(b"cells", b""))
        if part and size + cells > CELLS_JOINED_BYTES_MAX:
            yield part
            part, size = [], 0
        part.append(entry)
        size += cells
    if part:
        yield part


def _report(fields: Mapping[bytes, bytes]) -> LoadReport:
    sessions = []
    for line in fields[b"sessions"].decode().split("\n") if fields[b"sessions"] else ():
        count, _, session_id = line.partition(" ")
        sessions.append((SessionId(session_id), int(count)))
    return LoadReport(PodId(fields[b"pod"].decode()), tuple(sessions), *(fields[name.encode()] for name in COLUMNS))
