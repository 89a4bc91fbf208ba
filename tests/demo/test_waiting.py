"""While a part of the demo's world is away, who needs it waits, says why, and goes on; faults are no reason to wait."""

import pytest
from redis.exceptions import TimeoutError as RedisTimeoutError

from subgraph.demo import waiting
from subgraph.demo.waiting import REASON_LENGTH_MAX, Waiting

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "RETRY_SECONDS", 0.0)


async def test_work_is_done_again_until_it_succeeds_and_each_wait_is_told_once() -> None:
    notes: list[str] = []
    of_one = Waiting(notes.append)
    outcomes: list[Exception | str] = [RedisTimeoutError("too late"), ConnectionError(), "done", "done again"]
    seen: list[dict[str, str]] = []

    async def work() -> str:
        seen.append(dict(of_one.reasons))
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    assert await of_one.until_done("traffic", work) == "done"
    assert seen == [{}, {"traffic": "too late"}, {"traffic": "ConnectionError"}]
    assert await of_one.until_done("traffic", work) == "done again"
    assert of_one.reasons == {}
    assert notes == ["traffic: waits, too late", "traffic: goes on"]


async def test_a_reason_is_one_line_of_bounded_length() -> None:
    of_one = Waiting()
    of_one.begin("traffic", OSError("long " * 100 + "\nand more"))
    assert len(of_one.reasons["traffic"]) == REASON_LENGTH_MAX


async def test_a_fault_ends_it() -> None:
    async def work() -> None:
        raise RuntimeError("no such session")

    with pytest.raises(RuntimeError, match="no such session"):
        await Waiting().until_done("traffic", work)
