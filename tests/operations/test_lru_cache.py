"""A bounded cache: what stays, what is evicted, and what is loaded too late."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subgraph.operations.lru_cache import LruCache

KEYS = st.integers(0, 12)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), KEYS, st.integers(0, 3)),
        st.tuples(st.just("get"), KEYS, st.none()),
        st.tuples(st.just("drop"), KEYS, st.one_of(st.none(), st.integers(0, 4))),
        st.tuples(st.just("clear"), st.none(), st.none()),
    ),
    max_size=60,
)


class Model:
    """The same as a list, the least recently used first."""

    def __init__(self, entries_max: int) -> None:
        self.entries_max = entries_max
        self.entries: list[tuple[int, int, str]] = []
        self.evictions = 0

    def find(self, key: int) -> tuple[int, int, str] | None:
        return next((entry for entry in self.entries if entry[0] == key), None)

    def put(self, key: int, version: int, value: str) -> None:
        there = self.find(key)
        if there is not None and there[1] > version:
            return
        if there is not None:
            self.entries.remove(there)
        elif len(self.entries) == self.entries_max:
            kept = self.entries_max // 2
            self.evictions += self.entries_max - kept
            self.entries = self.entries[self.entries_max - kept :]
        self.entries.append((key, version, value))

    def get(self, key: int) -> str | None:
        there = self.find(key)
        if there is None:
            return None
        self.entries.remove(there)
        self.entries.append(there)
        return there[2]

    def drop(self, key: int, below: int | None) -> None:
        self.entries = [one for one in self.entries if one[0] != key or (below is not None and one[1] >= below)]


@given(st.integers(2, 9), STEPS)
def test_it_holds_what_a_list_in_the_order_of_use_would_hold(
    entries_max: int, steps: list[tuple[str, int, int]]
) -> None:
    memory: LruCache[int, str] = LruCache(entries_max)
    model = Model(entries_max)
    for number, (step, key, version) in enumerate(steps):
        match step:
            case "put":
                memory.put(key, version, f"value-{number}")
                model.put(key, version, f"value-{number}")
            case "get":
                assert memory.get(key) == model.get(key)
            case "drop":
                memory.drop(key, version)
                model.drop(key, version)
            case "clear":
                memory.clear()
                model.entries.clear()
        assert len(memory) == len(model.entries) <= entries_max
        assert memory.evictions == model.evictions
    assert {key: memory.get(key) for key in range(13)} == {
        key: entry[2] if (entry := model.find(key)) else None for key in range(13)
    }


@pytest.mark.requirement("A local cache in front of Redis: least recently used, at most")
def test_a_full_memory_forgets_the_half_that_was_not_used_for_longest() -> None:
    memory: LruCache[int, str] = LruCache(10_000)
    for key in range(10_000):
        memory.put(key, 1, "value")
    memory.get(0)
    memory.put(10_000, 1, "value")
    assert len(memory) == 5_001
    assert memory.evictions == 5_000
    assert [memory.get(key) is not None for key in (0, 1, 5_000, 5_001, 10_000)] == [True, False, False, True, True]


@given(st.lists(st.sampled_from(["drop", "drop-below", "drop-other", "clear", "put-newer"]), max_size=3))
def test_what_was_dropped_while_it_was_under_way_is_not_kept(meanwhile: list[str]) -> None:
    memory: LruCache[str, str] = LruCache(4)
    with memory.loading() as load:
        for happened in meanwhile:
            match happened:
                case "drop":
                    memory.drop("key")
                case "drop-below":
                    memory.drop("key", 2)
                case "drop-other":
                    memory.drop("other")
                case "clear":
                    memory.clear()
                case "put-newer":
                    memory.put("key", 2, "newer")
        before = memory.get("key")
        load.keep("key", 1, "older")
    may_keep = not {"drop", "drop-below", "clear", "put-newer"} & {*meanwhile}
    assert memory.get("key") == ("older" if may_keep else before)


def test_a_load_that_has_ended_is_not_remembered() -> None:
    memory: LruCache[str, str] = LruCache(4)
    with memory.loading() as first:
        first.keep("key", 1, "value")
    memory.drop("key")
    with memory.loading() as second:
        second.keep("key", 1, "value")
    assert memory.get("key") == "value"
