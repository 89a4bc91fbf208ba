"""Owns one running process: its stores, its parts, the operations they offer, and whether it is fit to serve."""

import contextlib
import time
from collections.abc import AsyncIterator
from secrets import token_hex

from redis.asyncio import Redis

from subgraph import __version__
from subgraph.adapters.data_directory_residues import DataDirectoryResidues
from subgraph.adapters.redis.client_sessions import RedisClientSessions
from subgraph.adapters.redis.connection import check_reachable, connect
from subgraph.adapters.redis.event_bus import RedisEventBus
from subgraph.adapters.redis.residues import RedisResidues
from subgraph.adapters.sql.database import Database, open_database
from subgraph.adapters.sql.owner_records import SqlOwnerRecords
from subgraph.adapters.sql.residues import SqlResidueScan
from subgraph.adapters.sql.session_directory import SqlSessionDirectory
from subgraph.adapters.sql.session_exports import SqlSessionExports
from subgraph.adapters.sql.session_hierarchy import SqlSessionHierarchy
from subgraph.api.context import Services
from subgraph.domain.errors import Unavailable
from subgraph.domain.prompt_session import MAPPING_TTL
from subgraph.operations.about import About
from subgraph.operations.by_hand.manual_divisions import ManualDivisions
from subgraph.operations.by_hand.manual_moves import ManualMoves
from subgraph.operations.by_hand.operator import Operator
from subgraph.operations.by_hand.tile_rules import TileRules
from subgraph.operations.coverage.partition import Partition
from subgraph.operations.coverage.unregistering import Unregistering
from subgraph.operations.fleet.pod_registering import PodRegistering
from subgraph.operations.fleet.pods import Pods
from subgraph.operations.fleet.session_tiles import has_tiles
from subgraph.operations.fleet.tile_routes import TileRoutes
from subgraph.operations.history.churn import ChurnMeter
from subgraph.operations.history.history import History
from subgraph.operations.journal.session_events import SessionEvents
from subgraph.operations.sessions.session_changes import SessionChanges
from subgraph.operations.sessions.session_hierarchy import SessionFamilies
from subgraph.operations.sessions.session_lifecycle import SessionLifecycle
from subgraph.operations.sessions.session_lookup import SessionLookup
from subgraph.operations.sessions.session_making import SessionMaking
from subgraph.operations.sessions.session_names import SessionNames
from subgraph.operations.sessions.session_naming import SessionNaming
from subgraph.operations.sessions.session_resolving import SessionResolving
from subgraph.operations.single_flight import SingleFlight
from subgraph.operations.supervision import Supervisor
from subgraph.operations.transfer.owner_erasure import OwnerErasure
from subgraph.operations.transfer.session_copying import SessionCopying
from subgraph.operations.transfer.session_transfer import SessionTransfer
from subgraph.settings import Settings
from subgraph.wiring.fleet_parts import FleetParts
from subgraph.wiring.session_parts import SessionParts
from subgraph.wiring.units import new_token, now


class Process:
    """The parts of one running process: opened by `running`, closed when it ends."""

    def __init__(self, settings: Settings, redis: Redis, database: Database) -> None:
        self.supervisor = Supervisor()
        self._database = database
        self._bus = RedisEventBus(redis)
        self._fleet = FleetParts(settings, redis, database, self._bus, self.supervisor)
        self._sessions = SessionParts(settings, redis, database, self._bus, self._fleet)
        self.metrics, self.session_counts = self._fleet.metrics, self._sessions.counts
        self.services = services_of(settings, redis, database, self._fleet, self._sessions)

    def start(self) -> None:
        """Start what runs in the background."""
        self.supervisor.start("event-bus", self._bus.run())
        self._fleet.start(self.supervisor)
        self._sessions.start(self.supervisor)

    async def problems(self) -> dict[str, str]:
        """What keeps this process from serving: dead tasks, a fleet out of sight, a database that does not answer."""
        problems = dict(self.supervisor.failures)
        if not self._fleet.view.is_current:
            problems["fleet"] = "nothing heard from the fleet's live state for one lease"
        elif not self._fleet.view.has_begun:
            problems["fleet"] = "nobody has led the fleet yet"
        try:
            await self._database.check()
        except Unavailable as error:
            problems["database"] = error.message
        return problems

    async def stop(self) -> None:
        """Stop what runs in the background."""
        await self.supervisor.stop()
        await self._sessions.aclose()
        await self._bus.aclose()


def services_of(
    settings: Settings, redis: Redis, database: Database, fleet: FleetParts, parts: SessionParts
) -> Services:
    """The operations that the parts of a process offer."""
    live, view, sessions, store = fleet.live, fleet.view, parts.sessions, parts.store
    directory = SqlSessionDirectory(database)
    names = SessionNames(store, directory, sessions.clock)
    lifecycle, changes = SessionLifecycle(sessions), SessionChanges(sessions, parts.titles)
    making = SessionMaking(sessions, names, parts.idempotency)
    partition = Partition(sessions, fleet.coverage, fleet.tile_making, fleet.retirement, view, parts.label_rules)
    return Services(
        sessions=sessions,
        lifecycle=lifecycle,
        sweeper=parts.sweeper,
        changes=changes,
        naming=SessionNaming(sessions, changes, lifecycle, names),
        making=making,
        idempotency=parts.idempotency,
        transfer=SessionTransfer(sessions, SqlSessionExports(database, settings.fleet), making, partition),
        copying=SessionCopying(making, partition, fleet.coverage),
        resolving=SessionResolving(sessions, directory, RedisClientSessions(redis, MAPPING_TTL), lambda: token_hex(4)),
        session_lookup=SessionLookup(sessions, directory, now),
        families=SessionFamilies(SqlSessionHierarchy(database, parts.cache.changing), now, parts.committed),
        partition=partition,
        unregistering=Unregistering(sessions, fleet.coverage, view, fleet.retirement, parts.coverage.bring_back),
        label_rules=parts.label_rules,
        owner_erasure=OwnerErasure(
            sessions,
            SqlOwnerRecords(database, parts.cache.changing),
            RedisResidues(redis),
            (SqlResidueScan(database), DataDirectoryResidues(settings.data_dir)),
            lambda session_ids: has_tiles(view.current(), session_ids),
            time.monotonic,
            SingleFlight("an erasure of an owner", time.monotonic),
        ),
        pod_registering=PodRegistering(live, view, fleet.lease_ms, fleet.lease_ms_max, new_token),
        pods=Pods(live, view),
        rebalancing=fleet.rebalancing,
        operator=Operator(live, view),
        manual_moves=ManualMoves(live, view, fleet.rebalancing),
        tile_rules=TileRules(live, view),
        manual_divisions=ManualDivisions(sessions, live, view, fleet.rebalancing),
        history=History(fleet.terms, view, fleet.recent_ends),
        churn=ChurnMeter(fleet.terms, view, time.monotonic),
        session_events=SessionEvents(store, parts.journal, parts.journal_feed, now),
        view=view,
        tile_changes=fleet.tile_changes,
        tile_routes=TileRoutes(view, time.monotonic),
        report_interval_ms=fleet.report_ms,
        fleet_id=settings.fleet,
        about=About(
            __version__,
            settings.enabled,
            settings.show_session_picker,
            parts.defaults,
            parts.retention,
            settings.operation_objects_max,
        ),
    )


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Process]:
    """A running process on the settings' stores.

    Raises:
        RedisUnreachable, DatabaseUnusable: one line each on what cannot be used.
    """
    if settings.redis_url is None or settings.database_url is None:
        raise ValueError("the embedded stores are started, and their URLs set, before the process")
    async with contextlib.AsyncExitStack() as cleanups:
        redis = connect(settings.redis_url)
        cleanups.push_async_callback(redis.aclose)
        await check_reachable(redis, settings.redis_url)
        database = await open_database(settings.database_url, migrate=settings.migrate_on_start)
        cleanups.push_async_callback(database.close)
        process = Process(settings, redis, database)
        cleanups.push_async_callback(process.stop)
        process.start()
        yield process
