"""Owns a pod process that one tile kills: it works on all others, and ends by SIGKILL when it is given that one."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence

from subgraph.client.connection import Connection
from subgraph.client.manager import OwnedTerm, Takeover, TileLoad
from subgraph.client.pod import PodClient, PodRegistration


class Poisoned:
    """Work that a tile ends, with all of the process."""

    def __init__(self, poison: str) -> None:
        self._poison = poison

    async def prepare(self, terms: Sequence[OwnedTerm]) -> None:
        """Nothing is to be warmed up."""

    async def activate(self, takeovers: Sequence[Takeover]) -> dict[str, int]:
        if self._poison in {takeover.tile_id for takeover in takeovers}:
            os.kill(os.getpid(), signal.SIGKILL)
        return {}

    async def release(self, terms: Sequence[OwnedTerm]) -> None:
        """Nothing is under way."""

    def loads(self) -> Sequence[TileLoad]:
        return ()


async def main(url: str, pod_id: str, poison: str) -> None:
    async with Connection(url) as manager:
        await PodClient(manager, PodRegistration(pod_id, "test", 100.0), Poisoned(poison)).run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
