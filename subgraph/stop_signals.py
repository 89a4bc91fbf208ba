"""Owns how the server is asked to end: which signals do, and that only the first one of them counts.

Whoever presses Ctrl-C twice is impatient; the stores still end after those that use them, and that takes a second.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

Handler = Callable[[int, FrameType | None], object]


def stop_signals() -> tuple[signal.Signals, ...]:
    """Ctrl-C, SIGTERM, and a terminal that is closed, which `nohup` has a process ignore."""
    hears_terminal = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    return (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hears_terminal else []))


def ignore_stop_signals() -> None:
    """Hear none of them from now on: the end has begun, and is bounded."""
    for one in stop_signals():
        signal.signal(one, signal.SIG_IGN)


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Raise KeyboardInterrupt at the first of them, wherever it comes; after the block this process is about to end."""

    def interrupt(*_: object) -> None:
        ignore_stop_signals()
        raise KeyboardInterrupt

    hear_stop_signals(interrupt)
    try:
        yield
    finally:
        ignore_stop_signals()


def hear_stop_signals(handler: Handler) -> None:
    """Have a handler hear them."""
    for one in stop_signals():
        signal.signal(one, handler)
