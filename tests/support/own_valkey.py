"""Owns a Valkey that one test may empty, kill and start again under the same URL."""

import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

from subgraph.adapters.valkey.embedded_valkey import EmbeddedValkey
from tests.support.polling import eventually


@contextlib.asynccontextmanager
async def own_valkey(directory: Path) -> AsyncIterator[EmbeddedValkey]:
    """A running Valkey on a directory."""
    server = EmbeddedValkey(directory)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def kill(server: EmbeddedValkey) -> None:
    """End the server without a warning; `start` brings it back with all it had answered."""
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    await eventually(lambda: not server.alive(), "the server has ended")
