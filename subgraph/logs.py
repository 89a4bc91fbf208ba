"""Owns the logging of a server process: its level, and one format for all lines."""

import logging

FORM = "%(asctime)s %(levelname)s %(name)s: %(message)s"
LEVELS = ("debug", "info", "warning", "error")
TALKATIVE = ("aiosqlite", "asyncio")
"""Libraries that tell of every step at the level debug, where what is looked for would drown."""


def begin_logging(level: str) -> None:
    """Log to standard error from a level on, one of `LEVELS`."""
    logging.basicConfig(level=level.upper(), format=FORM)
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(max(logging.INFO, logging.getLogger().level))
