"""Owns a set of whole numbers kept as intervals: small while what comes in is mostly consecutive."""

from bisect import bisect_left, bisect_right


class Intervals:
    """Whole numbers as disjoint closed intervals that do not touch; memory grows with the holes, not the numbers."""

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        self._size = 0

    def __len__(self) -> int:
        """How many numbers are in the set."""
        return self._size

    @property
    def holes(self) -> int:
        """How many numbers between the smallest and the largest are not in the set."""
        return self._lasts[-1] - self._firsts[0] + 1 - self._size if self._firsts else 0

    @property
    def spans(self) -> list[tuple[int, int]]:
        """The intervals, first and last number of each, rising."""
        return list(zip(self._firsts, self._lasts, strict=True))

    def add(self, first: int, count: int) -> int:
        """Add `count` numbers from `first`, and answer how many of them were there before."""
        if count < 1:
            return 0
        last = first + count - 1
        # Intervals that overlap the new one or touch it, all of which it swallows.
        start = bisect_left(self._lasts, first - 1)
        end = bisect_right(self._firsts, last + 1)
        swallowed = [*zip(self._firsts[start:end], self._lasts[start:end], strict=True)]
        already = sum(max(0, min(last, high) - max(first, low) + 1) for low, high in swallowed)
        self._firsts[start:end] = [min([first, *(low for low, _ in swallowed)])]
        self._lasts[start:end] = [max([last, *(high for _, high in swallowed)])]
        self._size += count - already
        return already
