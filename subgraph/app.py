"""Owns the wiring: which adapters stand behind which operations, what runs in the background, what is routed where."""

import contextlib
import multiprocessing
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from secrets import token_hex, token_urlsafe

from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from subgraph import __version__
from subgraph.adapters.data_directory_residues import DataDirectoryResidues
from subgraph.adapters.die_with_parent import tie_to_parent
from subgraph.adapters.metrics import Metrics
from subgraph.adapters.redis.client_sessions import RedisClientSessions
from subgraph.adapters.redis.connection import check_reachable, connect
from subgraph.adapters.redis.event_bus import RedisEventBus
from subgraph.adapters.redis.keys import JOURNAL_CHANNEL
from subgraph.adapters.redis.live_fleet import RedisLiveFleet
from subgraph.adapters.redis.residues import RedisResidues
from subgraph.adapters.redis.session_blobs import RedisSessionBlobs
from subgraph.adapters.redis.term_log import RedisTermLog
from subgraph.adapters.session_count_metric import SessionCountCollector
from subgraph.adapters.session_metrics import SessionReadsCollector
from subgraph.adapters.sql.coverage_register import SqlCoverageRegister
from subgraph.adapters.sql.database import Database, open_database
from subgraph.adapters.sql.fleet_register import SqlFleetRegister
from subgraph.adapters.sql.idempotency_keys import SqlIdempotencyKeys
from subgraph.adapters.sql.journal import SqlJournal
from subgraph.adapters.sql.owner_records import SqlOwnerRecords
from subgraph.adapters.sql.residues import SqlResidueScan
from subgraph.adapters.sql.session_counts import active_sessions_by_data_source
from subgraph.adapters.sql.session_directory import SqlSessionDirectory
from subgraph.adapters.sql.session_exports import SqlSessionExports
from subgraph.adapters.sql.session_hierarchy import SqlSessionHierarchy
from subgraph.adapters.sql.session_store import SqlSessionStore
from subgraph.adapters.sql.session_sweeps import SqlSessionSweeps
from subgraph.adapters.sql.term_history import SqlTermHistory
from subgraph.adapters.sql.ticking_sessions import SqlTickingSessions
from subgraph.adapters.sql.tile_journal import SqlTileJournal
from subgraph.api.context import Services
from subgraph.api.graphiql import graphiql_routes
from subgraph.api.guard import Guard, admitted, refused
from subgraph.api.http import GraphQLApp
from subgraph.api.local_only import LocalOnly
from subgraph.api.schema import make_schema
from subgraph.domain.access import Scope as CallerScope
from subgraph.domain.errors import Unavailable
from subgraph.domain.expiry import SessionDefaults
from subgraph.domain.fleet.plans import PlacementPolicy
from subgraph.domain.handoff import HandoffPolicy
from subgraph.domain.planning.resolution import ResolutionPolicy
from subgraph.domain.prompt_session import MAPPING_TTL
from subgraph.door import DoorKeeper
from subgraph.operations.about import About
from subgraph.operations.churn import ChurnMeter
from subgraph.operations.control_loop import ControlLoop
from subgraph.operations.fleet_view import FleetView
from subgraph.operations.hand_divisions import HandDivisions
from subgraph.operations.hand_moves import HandMoves
from subgraph.operations.health_journal import HealthJournal
from subgraph.operations.history import History
from subgraph.operations.history_recorder import HistoryRecorder
from subgraph.operations.history_retention import HistoryRetention
from subgraph.operations.idempotency import Idempotency
from subgraph.operations.journal_feed import JournalFeed
from subgraph.operations.journal_retention import JournalRetention
from subgraph.operations.label_rules import LabelRules
from subgraph.operations.leadership import Candidacy
from subgraph.operations.operator import Operator
from subgraph.operations.outbox_relay import OutboxRelay
from subgraph.operations.owner_erasure import OwnerErasure
from subgraph.operations.partition import Partition
from subgraph.operations.pods import Pods
from subgraph.operations.rebalancing import Rebalancing
from subgraph.operations.recent_ends import RecentEnds
from subgraph.operations.recovery import Recovery
from subgraph.operations.retirement import Retirement
from subgraph.operations.session_cache import SessionCache
from subgraph.operations.session_changes import SessionChanges
from subgraph.operations.session_copying import SessionCopying
from subgraph.operations.session_coverage import SessionCoverage
from subgraph.operations.session_events import SessionEvents
from subgraph.operations.session_hierarchy import SessionFamilies
from subgraph.operations.session_lifecycle import SessionLifecycle
from subgraph.operations.session_lookup import SessionLookup
from subgraph.operations.session_making import SessionMaking
from subgraph.operations.session_names import SessionNames
from subgraph.operations.session_naming import SessionNaming
from subgraph.operations.session_reads import SessionReads
from subgraph.operations.session_resolving import SessionResolving
from subgraph.operations.session_sweeper import SessionSweeper
from subgraph.operations.session_tiles import has_tiles
from subgraph.operations.session_transfer import SessionTransfer
from subgraph.operations.sessions import Sessions
from subgraph.operations.supervision import Supervisor
from subgraph.operations.ticks import Ticker
from subgraph.operations.tile_changes import TileChangeFeed
from subgraph.operations.tile_routes import TileRoutes
from subgraph.operations.tile_rules import TileRules
from subgraph.operations.unregistering import Unregistering
from subgraph.settings import Settings

MS_PER_DAY = 86_400_000


class Process:
    """The parts of one running process: opened by `running`, closed when it ends."""

    def __init__(self, settings: Settings, redis: Redis, database: Database) -> None:
        self.supervisor = Supervisor()
        self.database = database
        lease_ms, lease_ms_max = _ms(settings.pod_lease_seconds), _ms(settings.pod_lease_seconds_max)
        report_ms = _ms(settings.report_seconds)
        name = f"{socket.gethostname()}/{os.getpid()}"
        self.bus = RedisEventBus(redis)
        blobs = RedisSessionBlobs(redis, settings.fleet)
        self._session_cache = SessionCache(
            blobs, self.bus, blobs.channel, settings.session_copies_max, time.monotonic, _new_token
        )
        store = SqlSessionStore(database, self._session_cache.changing)
        live = RedisLiveFleet(redis, self.bus, settings.fleet)
        self.view = FleetView(live, lease_ms_max, settings.load_metric, time.monotonic)
        self.metrics = Metrics(settings.fleet, name, self.view, self.supervisor, report_ms)
        self.metrics.add(SessionReadsCollector(settings.fleet, name, self._session_cache))
        self.session_counts = SessionCountCollector(
            lambda most: active_sessions_by_data_source(database, _now(), most), time.monotonic
        )
        self.metrics.add(self.session_counts)
        placement = PlacementPolicy(
            resolution=ResolutionPolicy(
                enabled=settings.split_tiles,
                finer_max=settings.split_depth_max,
                resolution_max=settings.split_resolution_max,
                merge_after_ms=_ms(settings.merge_after_seconds),
            )
        )
        journal = SqlJournal(database)
        ticking = SqlTickingSessions(database)
        self._journal_feed = JournalFeed(journal, self.bus, JOURNAL_CHANNEL)
        defaults = SessionDefaults(timedelta(hours=settings.session_ttl_hours), settings.session_max_history)
        retention = timedelta(days=settings.session_retention_days)
        sessions = Sessions(store, _now, self._committed, defaults, SessionReads(store, self._session_cache))
        self._is_enabled = settings.enabled
        self._sweeper = SessionSweeper(
            SqlSessionSweeps(database, self._session_cache.changing),
            _now,
            time.monotonic,
            self._committed,
            retention,
            settings.session_sweep_seconds,
        )
        label_rules = LabelRules(store, sessions, live, self.view)
        coverage = SqlCoverageRegister(database, settings.fleet)
        retirement = Retirement(live, self.view)
        partition = Partition(sessions, coverage, live, self.view, label_rules)
        self._session_coverage = SessionCoverage(
            store, coverage, coverage, live, self.view, retirement.retire_session, label_rules.note
        )
        self._relay = OutboxRelay(
            journal,
            self.bus,
            JOURNAL_CHANNEL,
            self._session_coverage.release,
            self._session_coverage.bring_back,
            label_rules.note_changed,
            partial(self._session_cache.relay, store),
        )
        self._tile_changes = TileChangeFeed(self.view, report_ms)
        candidacy = Candidacy(
            live,
            SqlFleetRegister(database),
            self.view,
            settings.fleet,
            name,
            _ms(settings.leader_lease_seconds),
            lease_ms_max,
            _new_token,
        )
        self._control_loop = ControlLoop(
            live,
            self.view,
            candidacy,
            Recovery(live, self.view, candidacy, coverage),
            placement,
            HandoffPolicy(
                prepare_timeout_ms=_ms(settings.prepare_seconds),
                take_over_timeout_ms=_ms(settings.take_over_seconds),
                drain_timeout_ms=_ms(settings.drain_seconds),
            ),
            settings.cycle_seconds,
            self.metrics.observe_cycle,
            time.monotonic,
        )
        history = SqlTermHistory(database, settings.fleet)
        term_log = RedisTermLog(redis, settings.fleet)
        self._recent_ends = RecentEnds(self.view)
        tile_journal = SqlTileJournal(database, settings.fleet)
        self._history_recorder = HistoryRecorder(term_log, history, self.view, candidacy, time.monotonic, tile_journal)
        self._health_journal = HealthJournal(
            self.view, lambda: candidacy.leads, tile_journal, report_ms, settings.cycle_seconds
        )
        self._history_retention = HistoryRetention(
            history, self.view, candidacy, settings.history_retention_days * MS_PER_DAY
        )
        self._journal_retention = JournalRetention(
            journal,
            lambda: candidacy.leads,
            _now,
            time.monotonic,
            timedelta(days=settings.journal_retention_days),
        )
        self._ticker = Ticker(ticking, candidacy, _now, self._committed)
        rebalancing = Rebalancing(live, self.view, placement)
        directory = SqlSessionDirectory(database)
        names = SessionNames(store, directory)
        lifecycle, changes = SessionLifecycle(sessions), SessionChanges(sessions)
        self._idempotency = Idempotency(SqlIdempotencyKeys(database), _now, timedelta(hours=settings.idempotency_hours))
        making = SessionMaking(sessions, names, self._idempotency)
        self.services = Services(
            sessions=sessions,
            lifecycle=lifecycle,
            sweeper=self._sweeper,
            changes=changes,
            naming=SessionNaming(sessions, changes, lifecycle, names),
            making=making,
            transfer=SessionTransfer(sessions, SqlSessionExports(database, settings.fleet), making, partition),
            copying=SessionCopying(making, partition, coverage),
            resolving=SessionResolving(
                sessions, directory, RedisClientSessions(redis, MAPPING_TTL), lambda: token_hex(4)
            ),
            session_lookup=SessionLookup(sessions, directory, _now),
            families=SessionFamilies(
                SqlSessionHierarchy(database, self._session_cache.changing), _now, self._committed
            ),
            partition=partition,
            unregistering=Unregistering(sessions, coverage, self.view, retirement, self._session_coverage.bring_back),
            label_rules=label_rules,
            owner_erasure=OwnerErasure(
                sessions,
                SqlOwnerRecords(database),
                RedisResidues(redis),
                (SqlResidueScan(database), DataDirectoryResidues(settings.data_dir)),
                lambda session_ids: has_tiles(self.view.current(), session_ids),
                time.monotonic,
            ),
            pods=Pods(live, self.view, lease_ms, lease_ms_max, _new_token),
            rebalancing=rebalancing,
            operator=Operator(live, self.view),
            hand_moves=HandMoves(live, self.view, rebalancing),
            tile_rules=TileRules(live, self.view),
            hand_divisions=HandDivisions(sessions, live, self.view, rebalancing),
            history=History(history, self.view, self._recent_ends),
            churn=ChurnMeter(history, self.view, time.monotonic),
            session_events=SessionEvents(store, journal, self._journal_feed, _now),
            view=self.view,
            tile_changes=self._tile_changes,
            tile_routes=TileRoutes(self.view, time.monotonic),
            report_interval_ms=report_ms,
            fleet_id=settings.fleet,
            about=About(__version__, settings.enabled, settings.show_session_picker, defaults, retention),
        )

    def start(self) -> None:
        """Start what runs in the background."""
        self.supervisor.start("event-bus", self.bus.run())
        self.supervisor.start("fleet-view", self.view.run())
        self.supervisor.start("tile-effects", self._tile_changes.collect())
        self.supervisor.start("tile-changes", self._tile_changes.run())
        self.supervisor.start("session-cache", self._session_cache.run())
        self.supervisor.start("outbox-relay", self._relay.run())
        self.supervisor.start("session-coverage", self._session_coverage.run())
        self.supervisor.start("journal-feed", self._journal_feed.run())
        self.supervisor.start("recent-ends", self._recent_ends.collect())
        self.supervisor.start("history-recorder", self._history_recorder.run())
        self.supervisor.start("health-journal", self._health_journal.run())
        self.supervisor.start("history-retention", self._history_retention.run())
        if self._is_enabled:
            self.supervisor.start("session-sweeper", self._sweeper.run())
        self.supervisor.start("journal-retention", self._journal_retention.run())
        self.supervisor.start("idempotency-keys", self._idempotency.run())
        self.supervisor.start("ticks", self._ticker.run())
        self.supervisor.start("control-loop", self._control_loop.run())

    def _committed(self) -> None:
        # The streams of this process do not wait for what the relay says to all.
        self._relay.wake()
        self._journal_feed.wake()

    async def problems(self) -> dict[str, str]:
        """What keeps this process from serving: dead tasks, a fleet out of sight, a database that does not answer."""
        problems = dict(self.supervisor.failures)
        if not self.view.is_current:
            problems["fleet"] = "nothing heard from the fleet's live state for one lease"
        elif not self.view.has_begun:
            problems["fleet"] = "nobody has led the fleet yet"
        try:
            await self.database.check()
        except Unavailable as error:
            problems["database"] = error.message
        return problems

    async def stop(self) -> None:
        """Stop what runs in the background."""
        await self.supervisor.stop()
        await self.bus.aclose()


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


def create_worker_app() -> Starlette:
    """The ASGI application of a worker process, as the environment sets it. It ends with the process that began it."""
    parent = multiprocessing.parent_process()
    if parent is not None and sys.platform == "linux" and (why_not := tie_to_parent(parent.pid or 0)):
        sys.exit(why_not)
    return create_app(Settings.from_environment())


def create_app(settings: Settings) -> Starlette:
    """The ASGI application.

    Raises:
        KeyFileUnusable: tokens could not be verified.
    """
    keeper = DoorKeeper(settings)
    door = keeper.door
    holder: dict[str, Process] = {}

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with keeper.closing(), running(settings) as process:
            holder["process"] = process
            yield

    async def healthz(_: Request) -> Response:
        failures = holder["process"].supervisor.failures
        return JSONResponse({"status": "dead" if failures else "alive", "problems": failures}, 503 if failures else 200)

    async def readyz(_: Request) -> Response:
        problems = await holder["process"].problems()
        ready = "not ready" if problems else "ready"
        return JSONResponse({"status": ready, "problems": problems}, 503 if problems else 200)

    async def metrics(request: Request) -> Response:
        admission = await admitted(door, request.headers)
        if isinstance(admission, Response):
            return admission
        if not admission.caller.has(CallerScope.ADMIN):
            return refused(403, f"this needs the scope {CallerScope.ADMIN}", "NOT_ALLOWED")
        await holder["process"].session_counts.refresh()
        return Response(holder["process"].metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")

    graphql = GraphQLApp(
        make_schema(scope_directives=settings.scope_directives),
        lambda: holder["process"].services,
        door,
        settings.gateway_secret_header,
    )
    routes = [
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        *([Route("/metrics", metrics)] if settings.metrics else []),
        *graphiql_routes(),
        Route("/graphql", graphql),
        WebSocketRoute("/graphql", graphql),
    ]

    def count(status: int) -> None:
        holder["process"].metrics.observe_request(status)

    middleware = [
        Middleware(_CountRequests, count=count),
        Middleware(Guard, door=door, gateway_header=settings.gateway_secret_header),
    ]
    if settings.is_local_only:
        middleware.insert(1, Middleware(LocalOnly))
    return Starlette(routes=routes, lifespan=lifespan, middleware=middleware)


class _CountRequests:
    """ASGI middleware that counts answers by status."""

    def __init__(self, app: ASGIApp, count: Callable[[int], None]) -> None:
        self._app = app
        self._count = count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._count(message["status"])
            await send(message)

        await self._app(scope, receive, counted if scope["type"] == "http" else send)


def _now() -> datetime:
    return datetime.now(UTC)


def _new_token() -> str:
    return token_urlsafe(16)


def _ms(seconds: float) -> int:
    return round(seconds * 1_000)
