"""Owns the scripts of a fleet: each a file, behind what all of them share."""

from importlib.resources import files

from redis.asyncio import Redis
from redis.commands.core import AsyncScript


def fleet_script(redis: Redis, name: str) -> AsyncScript:
    """A script, to be run with `fleet_keys` as its keys."""
    sources = files("subgraph.adapters.redis") / "scripts"
    return redis.register_script((sources / "prelude.lua").read_text() + (sources / f"{name}.lua").read_text())
