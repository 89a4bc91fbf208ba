"""Names that are numbered where they are taken: found in two looks at most, however many numbers are taken."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from subgraph.domain.access import Caller
from subgraph.domain.errors import NameTaken
from subgraph.domain.ids import TenantId
from subgraph.domain.naming import SUFFIX_MAX, NameConflict, numbered
from subgraph.operations.sessions.session_names import SessionNames
from subgraph.operations.sessions.session_ports import SessionDirectory

pytestmark = pytest.mark.anyio

CALLER = Caller(TenantId("tenant"), "ann", frozenset())


class Directory:
    """What bears names; it counts how often it is looked into."""

    def __init__(self, taken: set[str]) -> None:
        self.taken = taken
        self.looks = 0

    async def taken_names(self, tenant_id: TenantId, names: Sequence[str]) -> set[str]:
        """Those of the names that are taken."""
        self.looks += 1
        return self.taken & set(names)


class NoSessions:
    """A store in which nobody is found."""

    async def sessions(self, tenant_id: TenantId, session_ids: Sequence[str]) -> dict[str, object]:
        """None of them."""
        return {}


async def settled(directory: Directory) -> str:
    async def attempt(name: str, holds_name: bool) -> str:
        return name

    names = SessionNames(
        cast("Any", NoSessions()), cast("SessionDirectory", directory), lambda: datetime(2026, 3, 1, tzinfo=UTC)
    )
    return await names.settle(CALLER, "run", NameConflict.SUFFIX, attempt)


@pytest.mark.parametrize(("free", "looks"), [(1, 1), (2, 1), (100, 1), (101, 2), (5_000, 2), (SUFFIX_MAX, 2)])
async def test_the_first_number_that_is_free_is_found_in_two_looks_at_most(free: int, looks: int) -> None:
    directory = Directory(set(list(numbered("run"))[: free - 1]))
    assert await settled(directory) == ("run" if free == 1 else f"run-{free}")
    assert directory.looks == looks


async def test_a_name_whose_numbers_are_all_taken_is_refused() -> None:
    directory = Directory(set(numbered("run")))
    with pytest.raises(NameTaken):
        await settled(directory)
    assert directory.looks == 2
