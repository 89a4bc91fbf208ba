"""Owns keeping an embedded Valkey alive: when its process dies it is started again, with all that it had answered."""

import asyncio
import logging
import threading
from concurrent.futures import Future

from subgraph.adapters.valkey.embedded_valkey import EmbeddedValkey, EmbeddedValkeyFailed

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.05
RETRY_SECONDS_MIN = 0.1
RETRY_SECONDS_MAX = 5.0


async def keep_alive(valkey: EmbeddedValkey) -> None:
    """Start a server that was started once whenever it has died, until cancelled; one that keeps dying less often."""
    retry_seconds = RETRY_SECONDS_MIN
    clock = asyncio.get_running_loop().time
    calm_since = clock()
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        if valkey.alive():
            continue
        if clock() > calm_since + RETRY_SECONDS_MAX:
            retry_seconds = RETRY_SECONDS_MIN
        logger.error("the embedded Valkey has died; it is started again in %g s", retry_seconds)
        await asyncio.sleep(retry_seconds)
        retry_seconds = min(2 * retry_seconds, RETRY_SECONDS_MAX)
        try:
            await valkey.start()
        except EmbeddedValkeyFailed as error:
            logger.error("the embedded Valkey is not back: %s", error)
        else:
            logger.warning("the embedded Valkey is back")
        calm_since = clock()


class ValkeyKeeper:
    """A thread that starts an embedded Valkey, keeps it alive, and ends it.

    It is one thread from start to end, because on Linux the server is killed with the thread that started it.
    """

    def __init__(self, valkey: EmbeddedValkey) -> None:
        self._valkey = valkey
        self._started: Future[None] = Future()
        self._stops = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live()), name="valkey-keeper", daemon=True)

    def start(self) -> str:
        """Start the server; returns its URL.

        Raises:
            EmbeddedValkeyFailed: it could not be started.
        """
        self._thread.start()
        self._started.result()
        return self._valkey.url

    def stop(self) -> None:
        """End the server, also one that is being started."""
        self._stops.set()
        if self._thread.ident is not None:
            self._thread.join()

    async def _live(self) -> None:
        keeping = asyncio.create_task(self._keep())
        while not self._stops.is_set() and not keeping.done():
            await asyncio.sleep(LOOK_SECONDS)
        keeping.cancel()
        await asyncio.wait([keeping])
        await self._valkey.stop()

    async def _keep(self) -> None:
        try:
            await self._valkey.start()
        except BaseException as error:
            self._started.set_exception(error)
            return
        self._started.set_result(None)
        await keep_alive(self._valkey)
