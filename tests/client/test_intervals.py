"""Intervals behave like the set of numbers they stand for."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from subgraph.client.intervals import Intervals


def test_consecutive_numbers_are_one_interval_and_a_filled_hole_joins_two() -> None:
    intervals = Intervals()
    for first, count in ((1, 3), (4, 2), (8, 1)):
        assert intervals.add(first, count) == 0
    assert (intervals.spans, len(intervals), intervals.holes) == ([(1, 5), (8, 8)], 6, 2)
    assert intervals.add(5, 3) == 1
    assert (intervals.spans, len(intervals), intervals.holes) == ([(1, 8)], 8, 0)


def test_nothing_added_is_nothing() -> None:
    intervals = Intervals()
    assert intervals.add(5, 0) == 0
    assert (intervals.spans, len(intervals), intervals.holes) == ([], 0, 0)


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 12)), max_size=20))
def test_intervals_agree_with_a_set(additions: list[tuple[int, int]]) -> None:
    intervals, numbers = Intervals(), set[int]()
    for first, count in additions:
        added = set(range(first, first + count))
        assert intervals.add(first, count) == len(added & numbers)
        numbers |= added
        assert len(intervals) == len(numbers)
        assert intervals.holes == (max(numbers) - min(numbers) + 1 - len(numbers) if numbers else 0)
        assert {n for low, high in intervals.spans for n in range(low, high + 1)} == numbers
        assert all(low > high + 1 for (_, high), (low, _) in itertools.pairwise(intervals.spans))
