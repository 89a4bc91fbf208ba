"""Owns a bounded least-recently-used cache. When it is full, the half that was not used for longest is evicted.

A value that is being loaded is kept only if its key was not invalidated meanwhile: it may have been read before the
change, and is stale then.
"""

import contextlib
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class LruCache(Generic[K, V]):
    """At most `entries_max` values, each with a version that only rises."""

    def __init__(self, entries_max: int) -> None:
        if entries_max < 2:
            raise ValueError(f"a cache of {entries_max} entries has no half to evict")
        self._entries_max = entries_max
        self._entries: OrderedDict[K, tuple[int, V]] = OrderedDict()
        self._loads: set[Load[K, V]] = set()
        self.evictions = 0
        """Entries evicted since the cache was made."""

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        """The value of a key, which counts as used now; None if there is none."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry[1]

    @contextlib.contextmanager
    def loading(self) -> Iterator["Load[K, V]"]:
        """A load from elsewhere; enter it before reading there."""
        load = Load(self)
        self._loads.add(load)
        try:
            yield load
        finally:
            self._loads.discard(load)

    def drop(self, key: K, below: int | None = None) -> None:
        """Invalidate a value, always or if its version is below one; a load under way does not keep it either."""
        for load in self._loads:
            load.spoil(key)
        entry = self._entries.get(key)
        if entry is not None and (below is None or entry[0] < below):
            del self._entries[key]

    def clear(self) -> None:
        """Invalidate everything; loads under way keep nothing."""
        self._entries.clear()
        for load in self._loads:
            load.spoil_all()

    def put(self, key: K, version: int, value: V) -> None:
        """Keep a value, unless a newer version of it is here. A full cache evicts its older half first."""
        entry = self._entries.get(key)
        if entry is not None and entry[0] > version:
            return
        if entry is None and len(self._entries) >= self._entries_max:
            half = self._entries_max // 2
            while len(self._entries) > half:
                self._entries.popitem(last=False)
                self.evictions += 1
        self._entries[key] = (version, value)
        self._entries.move_to_end(key)


class Load(Generic[K, V]):
    """Values that are being loaded into a cache."""

    def __init__(self, cache: LruCache[K, V]) -> None:
        self._cache = cache
        self._spoiled: set[K] = set()
        self._is_spoiled = False

    def keep(self, key: K, version: int, value: V) -> None:
        """Keep a loaded value, unless it was dropped since the load began."""
        if not self._is_spoiled and key not in self._spoiled:
            self._cache.put(key, version, value)

    def spoil(self, key: K) -> None:
        """Keep no value of a key."""
        self._spoiled.add(key)

    def spoil_all(self) -> None:
        """Keep nothing."""
        self._is_spoiled = True
