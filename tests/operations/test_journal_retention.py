"""The retention of what comes by itself in the journal: in batches, of its age, until nothing is left to forget."""

from datetime import UTC, datetime, timedelta

import pytest

from subgraph.operations.journal.journal_retention import ENTRIES_PER_WRITE_MAX, JournalRetention

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 3, 1, tzinfo=UTC)


class Entries:
    """So many old entries."""

    def __init__(self, count: int) -> None:
        self.left = count
        self.asked: list[tuple[datetime, int]] = []

    async def forget_old(self, before: datetime, limit: int) -> int:
        self.asked.append((before, limit))
        some = min(limit, self.left)
        self.left -= some
        return some


async def test_all_that_is_old_enough_goes_in_bounded_batches() -> None:
    entries = Entries(2 * ENTRIES_PER_WRITE_MAX + 1)
    retention = JournalRetention(entries, lambda: True, lambda: NOW, lambda: 0.0, timedelta(days=30))
    assert await retention.sweep() == 2 * ENTRIES_PER_WRITE_MAX + 1
    assert entries.asked == [(NOW - timedelta(days=30), ENTRIES_PER_WRITE_MAX)] * 3
