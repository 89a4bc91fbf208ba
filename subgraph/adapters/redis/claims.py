"""Owns what pods say they held before the live store forgot writes: packed beside their registrations until decided."""

import zlib
from collections.abc import Awaitable, Mapping
from typing import Any, cast

import msgspec
from redis.asyncio import Redis

from subgraph.adapters.redis.connection import told_as_unavailable
from subgraph.domain.ids import PodId, TileId
from subgraph.operations.fleet.fleet_pulse import PodClaims

_decoder = msgspec.msgpack.Decoder(dict[str, int])


def pack_claims(held: Mapping[TileId, int]) -> bytes:
    """Tiles and the epochs they were held at, as bytes; nothing for none."""
    return zlib.compress(msgspec.msgpack.encode(held), level=1) if held else b""


async def read_claims(redis: Redis, key: str, pods_max: int) -> list[PodClaims]:
    """The claims of some pods, each as of its newest registration."""
    with told_as_unavailable():
        waiting = await cast("Awaitable[list[bytes]]", redis.hkeys(key))
        chosen = sorted(waiting)[:pods_max]
        stored = await cast("Awaitable[list[bytes | None]]", redis.hmget(key, cast(Any, chosen))) if chosen else []
    return [_claims(pod_id, raw) for pod_id, raw in zip(chosen, stored, strict=True) if raw is not None]


def _claims(pod_id: bytes, stored: bytes) -> PodClaims:
    version, _, packed = stored.partition(b"|")
    held = _decoder.decode(zlib.decompress(packed))
    return PodClaims(PodId(pod_id.decode()), int(version), {TileId(tile_id): epoch for tile_id, epoch in held.items()})
