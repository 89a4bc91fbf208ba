"""Owns waiting in asynchronous tests: until something is true, with a bound, and never for a fixed time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

POLL_SECONDS = 0.01
WAIT_SECONDS_MAX = 30.0


async def eventually(condition: Callable[[], object], what: str, seconds_max: float = WAIT_SECONDS_MAX) -> Any:
    """The first true value of a condition, awaited where it must be; fails when it does not come in time."""
    give_up_at = time.monotonic() + seconds_max
    while time.monotonic() < give_up_at:
        found = condition()
        if isinstance(found, Awaitable):
            found = await found
        if found:
            return found
        await asyncio.sleep(POLL_SECONDS)
    raise AssertionError(f"not within {seconds_max:g} s: {what}")
