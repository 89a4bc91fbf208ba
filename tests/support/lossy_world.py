"""Owns a fleet with three pods that work, on a live store that can be harmed, and the ways to harm it."""

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

from redis.asyncio import Redis

from subgraph.adapters.valkey.embedded_valkey import EmbeddedValkey
from subgraph.client.audit import AuditFindings, SinkAudit
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.fleet.plans import PlacementPolicy
from subgraph.domain.ids import PodId, TileId
from subgraph.domain.planning.policy import BalancePolicy
from tests.support.fleet_process import FleetProcess, Pace, Register
from tests.support.own_valkey import kill
from tests.support.polling import eventually
from tests.support.real_pods import RealPod, settled

LEASE_SECONDS = 1.0
AS_PLACED = PlacementPolicy(balance=replace(BalancePolicy(), trigger=float("inf")))
"""Nothing moves for balance: what moves, the loss has moved."""
PACE = Pace(pod_lease_ms=1_000, placement=AS_PLACED)
TILES = 30
Owners = dict[TileId, tuple[PodId, int]]


@dataclass(slots=True)
class World:
    """A fleet with three pods that work, on a store that can be harmed; the sink is elsewhere, and judges."""

    valkey: EmbeddedValkey
    sink: Redis
    register: Register
    process: FleetProcess
    pods: list[RealPod] = field(default_factory=list)

    async def settled(self, tiles: int = TILES) -> Owners:
        """Owners and epochs once all tiles are worked on, after a look at the sink."""
        owners = await settled(self.process, self.pods, tiles)
        audit = SinkAudit(self.sink, "test")
        before = (await self._audited(audit)).accepted
        await eventually(lambda: self._has_more(audit, before), "the sink goes on taking records")
        findings = audit.findings
        assert (findings.accepted_twice, findings.below_highest_epoch) == (0, 0)
        assert all(pod.runs for pod in self.pods)
        return owners

    async def recovered(self, era: int = 2, tiles: int = TILES) -> Owners:
        """The same, once what was lost before an era is restored."""
        await self.process.until(
            lambda fleet: fleet.era >= era and self.process.view.is_restored, f"era {era} has begun and is restored"
        )
        return await self.settled(tiles)

    async def fleet(self) -> Fleet:
        """The fleet as the process sees it, once it is in touch with the store."""
        return await self.process.until(lambda fleet: fleet.version, "the process is in touch")

    async def _audited(self, audit: SinkAudit) -> AuditFindings:
        while await audit.follow():
            pass
        return audit.findings

    async def _has_more(self, audit: SinkAudit, before: int) -> bool:
        return bool((await self._audited(audit)).accepted > before + TILES)

    async def flushall(self) -> None:
        async with Redis.from_url(self.valkey.url) as client:
            await client.flushall()


def assert_kept(before: Owners, after: Owners, share: float = 1.0) -> None:
    """Tiles are where they were, all at epochs above every one before."""
    kept = sum(after[tile_id][0] == pod_id for tile_id, (pod_id, _) in before.items() if tile_id in after)
    assert kept >= share * len(before), f"{kept} of {len(before)} tiles kept their owner"
    assert min(epoch for _, epoch in after.values()) > max(epoch for _, epoch in before.values())


async def emptied(world: World) -> None:
    await world.flushall()


async def restarted_empty(world: World) -> None:
    await kill(world.valkey)
    shutil.rmtree(Path(world.valkey.url.removeprefix("unix://").partition("?")[0]).parent / "appendonlydir")
    await world.valkey.start()


async def restarted(world: World) -> None:
    await kill(world.valkey)
    await world.valkey.start()


class Backup:
    """The files of a store as they were once."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._directory = Path(world.valkey.url.removeprefix("unix://").partition("?")[0]).parent
        self._copy = self._directory.with_name("backup")
        shutil.copytree(self._directory / "appendonlydir", self._copy)

    async def restore(self) -> None:
        await kill(self._world.valkey)
        shutil.rmtree(self._directory / "appendonlydir")
        shutil.copytree(self._copy, self._directory / "appendonlydir")
        await self._world.valkey.start()


class Dump:
    """All keys of a store as they were once: put back, the store has not even been restarted."""

    def __init__(self, world: World, keys: dict[bytes | str, bytes]) -> None:
        self._world = world
        self._keys = keys

    @classmethod
    async def of(cls, world: World) -> "Dump":
        async with Redis.from_url(world.valkey.url) as client:
            lasting = {*await client.keys()} - {*await client.keys("*:leader")}
            dumps = {key: await client.dump(key) for key in lasting}
        keys = {key: dump for key, dump in dumps.items() if dump is not None}
        return cls(world, keys)

    async def restore(self) -> None:
        async with Redis.from_url(self._world.valkey.url) as client, client.pipeline(transaction=True) as together:
            leader = next(iter(await client.keys("*:leader")), None)
            for key in await client.keys():
                if key != leader:
                    together.delete(key)
            for key, value in self._keys.items():
                together.restore(key, 0, value, replace=True)
            await together.execute()


async def backup_of(world: World) -> Backup:
    return Backup(world)


async def versions(world: World, ids: list[TileId]) -> list[tuple[TileId, int]]:
    return [(one, stored.version) for one, stored in (await world.process.live.read_tiles(ids)).items()]
