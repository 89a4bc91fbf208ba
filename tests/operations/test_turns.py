"""Long work is done in turns: each in the order in which it waits, and what is short waits for nobody."""

import asyncio

import pytest

from subgraph.operations import turns as module
from subgraph.operations.turns import TURN_SECONDS, Turns

pytestmark = pytest.mark.anyio


class Clock:
    """A clock that goes only when it is told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


async def work(turns: Turns, clock: Clock, steps: int, told: list[str], name: str) -> None:
    """Steps of half a turn each, told of as they are done."""
    for _ in range(steps):
        clock.now += TURN_SECONDS / 2
        told.append(name)
        if turns.is_over():
            await turns.next()


async def test_each_work_has_its_first_turn_at_once_and_then_they_take_turns(clock: Clock) -> None:
    told: list[str] = []
    await asyncio.gather(*(work(Turns(), clock, 7, told, name) for name in "abc"))
    # The first step is before the first look at the clock.
    assert "".join(told) == "aaabbbccc" + "aabbcc" + "aabbcc"


async def test_the_tasks_of_one_work_share_its_turns_and_all_come_to_an_end(clock: Clock) -> None:
    told: list[str] = []
    shared = Turns()
    many = asyncio.gather(*(work(shared, clock, 2, told, "a") for _ in range(500)))
    await asyncio.sleep(0)
    assert 500 <= len(told) < 504, "all have begun, and hardly any has gone on"
    await work(Turns(), clock, 7, told, "b")
    # The one waits for single turns of the others, never for all that they still have to do.
    assert told.count("a") < 500 + 3 * 4
    await many
    assert told.count("a") == 1_000


async def test_what_is_short_waits_for_nobody(clock: Clock) -> None:
    told: list[str] = []
    long = asyncio.create_task(work(Turns(), clock, 100, told, "a"))
    while len(told) < 10:
        await asyncio.sleep(0)
    short = Turns()
    assert [short.is_over() for _ in range(3)] == [False] * 3
    await long


async def test_whoever_is_cancelled_while_it_waits_keeps_nobody_waiting(clock: Clock) -> None:
    told: list[str] = []
    gone, *others = (asyncio.create_task(work(Turns(), clock, 50, told, name)) for name in "abc")
    while told.count("a") < 5:
        await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(*others)
    assert told.count("b") == told.count("c") == 50
    assert gone.cancelled()
