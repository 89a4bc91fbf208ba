"""Owns how a pod renews its lease and hands in loads in Redis itself, past the session manager.

A pod that does so works on while the session manager restarts, and its reports cost no GraphQL. What it needs: the URL
of the fleet's Redis, the fleet's id, and the right to run one script on five keys, which reads a sixth (see
docs/clients.md).
"""

import sys
from array import array
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from subgraph.client.manager import CallRefused, LeaseRefused, Superseded, TileLoad, Unreachable
from subgraph.client.redis_connection import connect

ANSWER_SECONDS_MAX = 1.0
CONNECTIONS_MAX = 4
LOADS_PER_REPORT_MAX = 10_000
RATE_MAX = 1e15
COUNT_MAX = 2**53 - 1
KEYS = ("tokens", "leases", "applied", "loads", "intake")


class FleetRedis:
    """The part of a fleet's Redis that its pods may write. Use it as an async context manager."""

    def __init__(self, url: str, fleet_id: str = "default", *, answer_seconds: float = ANSWER_SECONDS_MAX) -> None:
        self._redis: Redis = connect(url, answer_seconds=answer_seconds, connections_max=CONNECTIONS_MAX)
        self._keys = [f"session-manager:{{{fleet_id}}}:{name}" for name in KEYS]
        source = files("subgraph.client") / "scripts" / "renew_lease.lua"
        self._script = self._redis.register_script(source.read_text(encoding="utf-8"))

    async def __aenter__(self) -> "FleetRedis":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._redis.aclose()

    async def renew(self, pod_id: str, token: str, applied_version: int) -> None:
        """Renew the lease of a pod's running instance.

        Raises:
            LeaseRefused, Superseded: the token is not that of the running instance.
            Unreachable: Redis does not answer, or cannot write now.
        """
        await self._run([pod_id, token, applied_version])

    async def report(self, pod_id: str, token: str, applied_version: int, loads: Sequence[TileLoad]) -> bool:
        """Renew the lease, and hand in loads; entries of terms that are over are passed over.

        Returns:
            Whether they were taken; if not, too many reports came of late: report less often.

        Raises:
            as `renew`; CallRefused: more than `LOADS_PER_REPORT_MAX` loads, or one that is no load.
        """
        if len(loads) > LOADS_PER_REPORT_MAX:
            raise CallRefused(f"at most {LOADS_PER_REPORT_MAX:,} loads a report, not {len(loads):,}")
        answer: bytes = await self._run([pod_id, token, applied_version, *packed(loads)])
        return answer != b"SLOW"

    async def _run(self, arguments: Sequence[Any]) -> Any:
        try:
            return await self._script(keys=self._keys, args=arguments)
        except (RedisError, OSError) as error:
            text = str(error)
            if text.startswith("LEASELOST superseded"):
                raise Superseded(f"another instance of pod {arguments[0]!r} has registered") from error
            if text.startswith("LEASELOST"):
                raise LeaseRefused(f"no instance of pod {arguments[0]!r} runs: it was lost or has left") from error
            if text.startswith("TOOLARGE"):
                raise CallRefused(text) from error
            raise Unreachable(f"the fleet's Redis: {text or type(error).__name__}") from error


def packed(loads: Sequence[TileLoad]) -> list[bytes]:
    """Loads as the columns that the script takes: the sessions, then 8 bytes a tile and column, lowest byte first.

    Raises:
        CallRefused: a tile id is none, or a number is no load.
    """
    by_session: dict[str, list[TileLoad]] = {}
    for load in loads:
        rates, counts = (load.records_per_second, load.bytes_per_second), (load.volume_bytes, load.backlog)
        if not (all(0 <= rate <= RATE_MAX for rate in rates) and all(0 <= count <= COUNT_MAX for count in counts)):
            raise CallRefused(f"not a load, rates from 0 to {RATE_MAX:g} and counts to {COUNT_MAX}: {load}")
        by_session.setdefault(load.tile_id.rpartition(":")[0], []).append(load)
    ordered = [load for of_session in by_session.values() for load in of_session]
    sessions = "\n".join(f"{len(of_session)} {session_id}" for session_id, of_session in by_session.items())
    try:
        return [
            sessions.encode(),
            _integers(int(load.tile_id.rpartition(":")[2], 16) for load in ordered),
            _integers(load.epoch for load in ordered),
            _column(array("d", [load.records_per_second for load in ordered])),
            _column(array("d", [load.bytes_per_second for load in ordered])),
            _integers(load.volume_bytes for load in ordered),
            _integers(load.backlog for load in ordered),
        ]
    except (ValueError, OverflowError, TypeError) as error:
        raise CallRefused(f"a load cannot be packed: {error}") from error


def _integers(numbers: Iterable[int]) -> bytes:
    return _column(array("q", numbers))


def _column(numbers: "array[Any]") -> bytes:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()
