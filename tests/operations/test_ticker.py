"""The ticker: while more is due than it writes at once, it goes on for as long as it leads, and says what it wrote."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

import pytest

from subgraph.operations.control.leadership import Candidacy
from subgraph.operations.journal.ticks import TICKS_PER_WRITE_MAX, Ticker

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@dataclass
class Leads:
    leads: bool = True


@dataclass
class Overdue:
    """Sessions of which more are due than are written at once; with the third look leadership is lost."""

    candidacy: Leads
    looks: int = 0

    async def tick(self, now: datetime, most: int) -> int:
        self.looks += 1
        self.candidacy.leads = self.looks < 3
        # Should it go on regardless, the test ends all the same.
        return TICKS_PER_WRITE_MAX if self.looks < 10 else 0


async def test_who_never_gets_done_says_after_each_write_that_there_is_something_and_ends_with_its_lead() -> None:
    candidacy, committed = Leads(), list[int]()
    sessions = Overdue(candidacy)
    ticker = Ticker(sessions, cast(Candidacy, candidacy), lambda: NOW, lambda: committed.append(sessions.looks))
    assert await ticker.tick() == 3 * TICKS_PER_WRITE_MAX
    assert committed == [1, 2, 3]
