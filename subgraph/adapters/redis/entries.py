"""Owns the reading of all that Redis holds of this software: a page of keys in two round trips, of bounded bytes.

This is the one place where keys are scanned, and an owner's erasure the one request that does.
"""

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from subgraph.adapters.redis.keys import PREFIX

KEYS_PER_PAGE = 1_000
ENTRIES_PER_READ = 1_000
BYTES_PER_READ_MAX = 4_000_000
"""Values are read together up to so many bytes of Redis' memory."""
BYTES_WHOLE_MAX = 500_000
"""A value of more than that is read by itself: of several parts, some at a time."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A string, or a member, field, item or stream's entry of a value of several. `parts`: all bytes it is made of."""

    key: str
    kind: str
    id: bytes
    parts: tuple[bytes, ...]


async def all_entries(redis: Redis) -> AsyncIterator[Sequence[Entry]]:
    """What all keys hold, some entries at a time; what is there from the beginning to the end comes at least once."""
    # A name may come twice, above all while others are dropped.
    names: set[bytes] = set()
    async for name in redis.scan_iter(match=f"*{PREFIX}:*", count=KEYS_PER_PAGE):
        names.add(name)
        if len(names) == KEYS_PER_PAGE:
            async for some in _of_keys(redis, names):
                yield some
            names = set()
    async for some in _of_keys(redis, names):
        yield some


async def _of_keys(redis: Redis, names: Collection[bytes]) -> AsyncIterator[Sequence[Entry]]:
    if not names:
        return
    async with redis.pipeline(transaction=False) as pipeline:
        for name in names:
            pipeline.type(name)
            pipeline.memory_usage(name)
        answers = await pipeline.execute()
    kinds = [kind.decode() for kind in answers[::2]]
    # A key that has gone since has no size.
    sizes = [size or 0 for size in answers[1::2]]
    for some in _batches(list(zip(names, kinds, sizes, strict=True))):
        ((name, kind, size), *others) = some
        if not others and size > BYTES_WHOLE_MAX:
            async for entries in _in_parts(redis, name, kind):
                yield entries
        else:
            async for entries in _whole(redis, [(name, kind) for name, kind, _ in some]):
                yield entries


def _batches(keys: Iterable[tuple[bytes, str, int]]) -> Iterator[list[tuple[bytes, str, int]]]:
    batch: list[tuple[bytes, str, int]] = []
    total = 0
    for one in keys:
        _, kind, size = one
        if kind not in _WHOLE:
            continue
        if size > BYTES_WHOLE_MAX:
            yield [one]
            continue
        if total + size > BYTES_PER_READ_MAX:
            yield batch
            batch, total = [], 0
        batch.append(one)
        total += size
    if batch:
        yield batch


async def _whole(redis: Redis, keys: Sequence[tuple[bytes, str]]) -> AsyncIterator[Sequence[Entry]]:
    async with redis.pipeline(transaction=False) as pipeline:
        for name, kind in keys:
            _WHOLE[kind](pipeline, name)
        answers = await pipeline.execute(raise_on_error=False)
    entries: list[Entry] = []
    for (name, kind), answer in zip(keys, answers, strict=True):
        if isinstance(answer, ResponseError) and str(answer).startswith("WRONGTYPE"):
            # It has become another one since.
            async for some in _in_parts(redis, name, cast(bytes, await redis.type(name)).decode()):
                entries += some
        elif isinstance(answer, Exception):
            raise answer
        else:
            entries += _entries(name, kind, _PARTS[kind](answer))
    yield entries


async def _in_parts(redis: Any, name: bytes, kind: str) -> AsyncIterator[Sequence[Entry]]:
    # redis-py cannot know that nothing is decoded here.
    match kind:
        case "hash" | "set" | "zset":
            scan = {"hash": redis.hscan, "set": redis.sscan, "zset": redis.zscan}[kind]
            cursor = None
            while cursor != 0:
                cursor, some = await scan(name, cursor or 0, count=ENTRIES_PER_READ)
                found = [member for member, _ in some] if kind == "zset" else some
                yield list(_entries(name, kind, _PARTS[kind](found)))
        case "list":
            start = 0
            while some := await redis.lrange(name, start, start + ENTRIES_PER_READ - 1):
                yield list(_entries(name, kind, _PARTS[kind](some)))
                start += len(some)
        case "stream":
            after = b"-"
            while some := await redis.xrange(name, after, "+", count=ENTRIES_PER_READ):
                yield list(_entries(name, kind, _PARTS[kind](some)))
                after = b"(" + some[-1][0]
        case "string":
            yield list(_entries(name, kind, _PARTS[kind](await redis.get(name))))


_Parts = Iterable[tuple[bytes, tuple[bytes, ...]]]


def _of_string(value: bytes | None) -> _Parts:
    return [] if value is None else [(b"", (value,))]


def _of_hash(values: Mapping[bytes, bytes]) -> _Parts:
    return ((field, (field, value)) for field, value in values.items())


def _of_members(members: Iterable[bytes]) -> _Parts:
    return ((member, (member,)) for member in members)


def _of_items(items: Iterable[bytes]) -> _Parts:
    return ((b"", (item,)) for item in items)


def _of_stream(entries: Iterable[tuple[bytes, Mapping[bytes, bytes]]]) -> _Parts:
    return ((entry_id, tuple(part for pair in fields.items() for part in pair)) for entry_id, fields in entries)


_WHOLE: Mapping[str, Callable[[Any, bytes], object]] = {
    "string": lambda pipeline, name: pipeline.get(name),
    "hash": lambda pipeline, name: pipeline.hgetall(name),
    "set": lambda pipeline, name: pipeline.smembers(name),
    "zset": lambda pipeline, name: pipeline.zrange(name, 0, -1),
    "list": lambda pipeline, name: pipeline.lrange(name, 0, -1),
    "stream": lambda pipeline, name: pipeline.xrange(name),
}
_PARTS: Mapping[str, Callable[[Any], _Parts]] = {
    "string": _of_string,
    "hash": _of_hash,
    "set": _of_members,
    "zset": _of_members,
    "list": _of_items,
    "stream": _of_stream,
}


def _entries(name: bytes, kind: str, parts: _Parts) -> Iterator[Entry]:
    key = name.decode(errors="surrogateescape")
    return (Entry(key, kind, entry_id, held) for entry_id, held in parts)
