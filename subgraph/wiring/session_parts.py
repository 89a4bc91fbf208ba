"""Owns the wiring of sessions: their store, their copies, their journal, and what runs beside them."""

import time
from datetime import timedelta
from functools import partial

from redis.asyncio import Redis

from subgraph.adapters.http_titles import HttpTitles
from subgraph.adapters.prometheus.session_count_metric import SessionCountCollector
from subgraph.adapters.prometheus.session_metrics import SessionReadsCollector
from subgraph.adapters.prometheus.title_metrics import TitleCollector
from subgraph.adapters.redis.all_session_copies import forget_all_copies
from subgraph.adapters.redis.event_bus import RedisEventBus
from subgraph.adapters.redis.keys import JOURNAL_CHANNEL
from subgraph.adapters.redis.seen_positions import RedisSeenPositions
from subgraph.adapters.redis.session_blobs import RedisSessionBlobs
from subgraph.adapters.sql.database import Database
from subgraph.adapters.sql.idempotency_keys import SqlIdempotencyKeys
from subgraph.adapters.sql.journal import SqlJournal
from subgraph.adapters.sql.session_counts import active_sessions_by_data_source
from subgraph.adapters.sql.session_store import SqlSessionStore
from subgraph.adapters.sql.session_sweeps import SqlSessionSweeps
from subgraph.adapters.sql.ticking_sessions import SqlTickingSessions
from subgraph.domain.expiry import SessionDefaults
from subgraph.operations.coverage.label_rules import LabelRules
from subgraph.operations.coverage.session_coverage import SessionCoverage
from subgraph.operations.journal.journal_feed import JournalFeed
from subgraph.operations.journal.journal_retention import JournalRetention
from subgraph.operations.journal.journal_watch import JournalWatch
from subgraph.operations.journal.outbox_relay import OutboxRelay
from subgraph.operations.journal.ticks import Ticker
from subgraph.operations.sessions.idempotency import Idempotency
from subgraph.operations.sessions.session_cache import SessionCache
from subgraph.operations.sessions.session_reads import SessionReads
from subgraph.operations.sessions.session_sweeper import SessionSweeper
from subgraph.operations.sessions.sessions import Sessions
from subgraph.operations.sessions.title_making import TitleMaking
from subgraph.operations.supervision import Supervisor
from subgraph.settings import Settings
from subgraph.wiring.fleet_parts import FleetParts
from subgraph.wiring.units import new_token, now


class SessionParts:
    """The parts of one process that concern sessions and their journal."""

    def __init__(
        self, settings: Settings, redis: Redis, database: Database, bus: RedisEventBus, fleet: FleetParts
    ) -> None:
        self._is_enabled = settings.enabled
        self._database = database
        blobs = RedisSessionBlobs(redis, settings.fleet)
        self.cache = SessionCache(blobs, bus, blobs.channel, settings.session_copies_max, time.monotonic, new_token)
        self.store = SqlSessionStore(database, self.cache.changing)
        self.journal = SqlJournal(database)
        self.journal_feed = JournalFeed(self.journal, bus, JOURNAL_CHANNEL)
        self.journal_watch = JournalWatch(
            self.journal,
            self.journal_feed,
            RedisSeenPositions(redis, settings.fleet),
            partial(self._forget, redis, settings.fleet),
        )
        self.defaults = SessionDefaults(timedelta(hours=settings.session_ttl_hours), settings.session_max_history)
        self.retention = timedelta(days=settings.session_retention_days)
        reads = SessionReads(self.store, self.cache)
        self.sessions = Sessions(self.store, now, self.committed, self.defaults, reads, settings.enabled)
        self.sweeper = SessionSweeper(
            SqlSessionSweeps(database, self.cache.changing),
            now,
            time.monotonic,
            self.committed,
            self.retention,
            settings.session_sweep_seconds,
        )
        self.label_rules = LabelRules(self.store, self.sessions, fleet.live, fleet.view)
        self.coverage = SessionCoverage(
            self.store,
            fleet.coverage,
            fleet.coverage,
            fleet.tile_making,
            fleet.view,
            fleet.retirement.retire_session,
            self.label_rules.note,
        )
        self.relay = OutboxRelay(
            self.journal,
            bus,
            JOURNAL_CHANNEL,
            self.coverage.release,
            self.coverage.bring_back,
            self.label_rules.note_changed,
            partial(self.cache.relay, self.store),
        )
        self.journal_retention = JournalRetention(
            self.journal,
            fleet.leads,
            now,
            time.monotonic,
            timedelta(days=settings.journal_retention_days),
        )
        self.ticker = Ticker(SqlTickingSessions(database), fleet.candidacy, now, self.committed)
        self.idempotency = Idempotency(SqlIdempotencyKeys(database), now, timedelta(hours=settings.idempotency_hours))
        self.counts = SessionCountCollector(
            lambda most: active_sessions_by_data_source(database, now(), most), time.monotonic
        )
        fleet.metrics.add(SessionReadsCollector(settings.fleet, fleet.name, self.cache))
        fleet.metrics.add(self.counts)
        url, token = settings.title_provider_url, settings.title_provider_token
        self._provider = None if url is None else HttpTitles(url, token, settings.title_provider_seconds)
        self.titles = TitleMaking(self._provider)
        if self._provider is not None:
            fleet.metrics.add(TitleCollector(settings.fleet, fleet.name, self.titles))

    def committed(self) -> None:
        """Hear that something was committed: the streams of this process do not wait for what the relay says to all."""
        self.relay.wake()
        self.journal_feed.wake()

    async def _forget(self, redis: Redis, fleet_id: str) -> None:
        """Forget all that was read in SQL before it was put back."""
        self.sessions.forget_tenants()
        await forget_all_copies(redis, fleet_id)

    def start(self, supervisor: Supervisor) -> None:
        """Start what runs in the background."""
        supervisor.start("session-cache", self.cache.run())
        supervisor.start("outbox-relay", self.relay.run())
        supervisor.start("session-coverage", self.coverage.run())
        supervisor.start("journal-feed", self.journal_feed.run())
        supervisor.start("journal-watch", self.journal_watch.run())
        if self._is_enabled:
            # While session management is off, what time does to sessions and to what was kept of them waits as well.
            supervisor.start("session-sweeper", self.sweeper.run())
            supervisor.start("journal-retention", self.journal_retention.run())
            supervisor.start("idempotency-keys", self.idempotency.run())
            supervisor.start("ticks", self.ticker.run())

    async def aclose(self) -> None:
        """Let go of the connections that are the sessions' alone."""
        if self._provider is not None:
            await self._provider.aclose()
