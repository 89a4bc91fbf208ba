"""Owns the scripts of a fleet: each a file, behind what all of them share; and what it means that one refuses."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

from redis.asyncio import Redis
from redis.commands.core import AsyncScript
from redis.exceptions import ResponseError

from subgraph.adapters.redis.connection import told_as_unavailable
from subgraph.domain.errors import LeaseLost, Unavailable
from subgraph.operations.fleet.fleet_writes import Guard, IncarnationBehind, Leadership, NotLeading, PodLease

_SCRIPTS = (
    "announce_cycle",
    "beat",
    "begin_keyed_plan",
    "begin_term",
    "commit",
    "declare_restored",
    "drop_claims",
    "end_pod",
    "keep_leading",
    "register_pod",
    "require",
    "reserve",
    "take_requests",
    "try_lead",
)


class FleetScripts:
    """The scripts of the live fleet, run on its keys."""

    def __init__(self, redis: Redis, keys: Sequence[str]) -> None:
        self._keys = keys
        self._scripts = {name: fleet_script(redis, name) for name in _SCRIPTS}

    async def run(self, script: str, arguments: Sequence[str | bytes | int] = ()) -> Any:
        """Run one, and return what it answers.

        Raises:
            NotLeading, IncarnationBehind: the leader that it was run for leads no more, or not yet.
            Unavailable: Redis does not answer, or is not adopted by a leader.
            ResponseError: the script refused for a reason that the caller has to tell, such as a lease that was lost.
        """
        with told_as_unavailable():
            try:
                return await self._scripts[script](keys=self._keys, args=list(arguments))
            except ResponseError as error:
                code, _, message = str(error).partition(" ")
                if code == "NOTLEADING":
                    raise NotLeading(message) from error
                if code == "BEHIND":
                    raise IncarnationBehind(int(message)) from error
                if code == "NOTADOPTED":
                    raise Unavailable(message, retry_after_seconds=1.0) from error
                raise


def fleet_script(redis: Redis, name: str) -> AsyncScript:
    """A script, to be run with `fleet_keys` as its keys."""
    sources = files("subgraph.adapters.redis") / "scripts"
    return redis.register_script((sources / "prelude.lua").read_text() + (sources / f"{name}.lua").read_text())


def guard_arguments(guard: Guard) -> tuple[str, str | int, str]:
    """How a script is told on whose account it writes."""
    match guard:
        case Leadership(incarnation, token):
            return "leader", incarnation, token
        case PodLease(pod_id, token):
            return "pod", pod_id, token
        case None:
            return "none", "", ""


@contextmanager
def told_as_lease_lost(guard: Guard) -> Iterator[None]:
    """Turn the refusal of a pod's write into LeaseLost, which says whether another instance runs."""
    try:
        yield
    except ResponseError as error:
        if not str(error).startswith("LEASELOST") or not isinstance(guard, PodLease):
            raise
        if str(error).endswith("superseded"):
            why = f"another instance of pod {guard.pod_id!r} has registered: this one is fenced"
            raise LeaseLost(guard.pod_id, why, ("leaseToken",), superseded=True) from error
        why = f"no instance of pod {guard.pod_id!r} runs: it was lost or has left; register again"
        raise LeaseLost(guard.pod_id, why, ("leaseToken",)) from error
