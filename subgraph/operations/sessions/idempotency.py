"""Owns idempotency: a mutation repeated with one key is carried out once; and how long keys are kept."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from subgraph.domain.access import Caller
from subgraph.domain.errors import SessionManagerFailure
from subgraph.domain.idempotency import KEPT_FOR, IdempotencyKey, OnceKey, check_key, check_same
from subgraph.domain.ids import SessionId
from subgraph.operations.interruptions import Interruption
from subgraph.operations.ports import Clock
from subgraph.operations.sessions.session_ports import IdempotencyKeyStore, KeyUsed

logger = logging.getLogger(__name__)

KEYS_PER_SWEEP = 1_000
SWEEP_SECONDS = 60.0
REST_SECONDS = 0.05

Make = Callable[[IdempotencyKey | None], Awaitable[SessionId]]


@dataclass(frozen=True, slots=True)
class Idempotency:
    """The keys of one store. `run` must be kept running, in any number of processes."""

    store: IdempotencyKeyStore
    clock: Clock
    kept_for: timedelta = KEPT_FOR

    async def once(self, caller: Caller, operation: str, text: str | None, fingerprint: str, make: Make) -> SessionId:
        """What `make` makes, or made when the key came before; without a key it is made in any case.

        Raises:
            InvalidInput: the key is malformed, or came with another request before.
        """
        key = self.key(caller, operation, OnceKey(text, fingerprint))
        if key is None:
            return await make(None)
        if (made := await self._made(key)) is not None:
            return made
        try:
            return await make(key)
        except KeyUsed as used:
            check_same(key, used.use.fingerprint)
            return used.use.session_id
        except SessionManagerFailure:
            # What stands in the way may be what another request with this key has just made: its name, for one.
            if (made := await self._made(key)) is not None:
                return made
            raise

    def key(self, caller: Caller, operation: str, once: OnceKey) -> IdempotencyKey | None:
        """The key that a caller gave with an operation, if it gave one.

        Raises:
            InvalidInput: it is malformed.
        """
        if once.text is None:
            return None
        check_key(once.text)
        stale_before = self.clock() - self.kept_for
        return IdempotencyKey(caller.tenant_id, caller.owner_id, operation, once.text, once.fingerprint, stale_before)

    async def run(self) -> None:
        """Sweep now and then, until cancelled."""
        interruption = Interruption(logger, "the sweep of idempotency keys")
        while True:
            with interruption.logged():
                await self.sweep()
            await asyncio.sleep(SWEEP_SECONDS)

    async def sweep(self) -> int:
        """Forget all keys that are old enough, in batches. Returns how many they were.

        Raises:
            Unavailable: the database does not answer.
        """
        used_before, swept = self.clock() - self.kept_for, 0
        while True:
            forgotten = await self.store.forget(used_before, KEYS_PER_SWEEP)
            swept += forgotten
            if forgotten < KEYS_PER_SWEEP:
                return swept
            await asyncio.sleep(REST_SECONDS)

    async def _made(self, key: IdempotencyKey) -> SessionId | None:
        use = await self.store.use_of(key)
        if use is None:
            return None
        check_same(key, use.fingerprint)
        return use.session_id
