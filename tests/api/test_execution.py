"""Operations that are long are executed in turns with all else, and are answered as if they were not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import pytest
import strawberry
from strawberry.dataloader import DataLoader

from subgraph.api.execution import STARTED_AT_ONCE, ExecutionInTurns
from subgraph.api.schema import make_schema
from subgraph.operations import turns as module
from subgraph.operations.turns import TURN_SECONDS

pytestmark = pytest.mark.anyio

STEPS_OF_A_TURN = 10


class TickingClock:
    """A clock by which every look takes a tenth of a turn, unless it is stopped."""

    def __init__(self) -> None:
        self.now = 0.0
        self.step = TURN_SECONDS / STEPS_OF_A_TURN

    def monotonic(self) -> float:
        self.now += self.step
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> TickingClock:
    clock = TickingClock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@asynccontextmanager
async def counted_turns() -> AsyncIterator[list[int]]:
    """How many turns another task has had."""
    turns = [0]

    async def take() -> None:
        while True:
            turns[0] += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(take())
    yield turns
    other.cancel()
    with suppress(asyncio.CancelledError):
        await other


@strawberry.type
class Leaf:
    number: int

    @strawberry.field
    async def loaded(self, info: strawberry.Info[Any, None]) -> int:
        return await cast("DataLoader[int, int]", info.context).load(self.number)

    @strawberry.field
    async def failing(self) -> int | None:
        if self.number % 7 == 0:
            raise ValueError(f"no {self.number}")
        return self.number

    @strawberry.field
    async def needed(self) -> int:
        if self.number == 33:
            raise ValueError("33")
        return self.number

    @strawberry.field
    def leaves(self, count: int) -> "list[Leaf]":
        return [Leaf(number=self.number * 100 + n) for n in range(count)]

    @strawberry.field
    def some(self) -> "list[Leaf] | None":
        return [Leaf(number=n) for n in (31, 32, 33, 34)] if self.number % 3 else []


@strawberry.type
class Query:
    @strawberry.field
    def leaves(self, count: int) -> list[Leaf]:
        return [Leaf(number=n) for n in range(count)]

    @strawberry.field
    def maybe(self) -> list[Leaf | None]:
        return [Leaf(number=n) if n % 5 else None for n in range(50)]

    @strawberry.field
    def names(self) -> list[str]:
        return [f"name {n}" for n in range(50)]

    @strawberry.field
    def broken(self) -> list[Leaf] | None:
        return cast("list[Leaf]", [Leaf(number=1), None, *(Leaf(number=n) for n in range(50))])


async def twice(numbers: list[int]) -> list[int]:
    return [2 * number for number in numbers]


TEXTS = (
    "{ names leaves(count: 60) { number } }",
    "{ leaves(count: 30) { number leaves(count: 5) { number leaves(count: 3) { number loaded } } } }",
    "{ maybe { number failing } broken { number } }",
    "{ leaves(count: 20) { number some { number needed } failing } }",
    "{ leaves(count: 40) { needed } }",
)


@pytest.mark.parametrize("text", TEXTS)
async def test_what_is_answered_is_the_same_as_without_turns(text: str) -> None:
    in_turns = strawberry.Schema(Query, execution_context_class=ExecutionInTurns)
    at_once = strawberry.Schema(Query)
    expected = await at_once.execute(text, context_value=DataLoader(twice, cache=False))
    async with counted_turns() as turns:
        answer = await in_turns.execute(text, context_value=DataLoader(twice, cache=False))
    assert turns[0] > 4
    assert answer.data == expected.data

    def told(result: Any) -> list[Any]:
        return sorted((error.message, str(error.path)) for error in result.errors or ())

    assert told(answer) == told(expected)


async def test_others_have_turns_all_through_ten_thousand_references() -> None:
    # What is no reference is answered without any load, by an error in its place.
    text = "query($of: [_Any!]!) { _entities(representations: $of) { __typename } }"
    async with counted_turns() as turns:
        answer = await make_schema().execute(text, {"of": [{"__typename": "Nothing"}] * 10_000})
    assert answer.data == {"_entities": [None] * 10_000}
    assert [error.path[1] for error in answer.errors or () if error.path] == [*range(10_000)]
    assert turns[0] >= 10_000 / STEPS_OF_A_TURN


async def test_what_a_long_list_waits_for_is_loaded_together_some_at_a_time(clock: TickingClock) -> None:
    clock.step = 0.0
    asked: list[int] = []

    async def counted(numbers: list[int]) -> list[int]:
        asked.append(len(numbers))
        return numbers

    schema = strawberry.Schema(Query, execution_context_class=ExecutionInTurns)
    text = f"{{ leaves(count: {10 * STARTED_AT_ONCE}) {{ loaded }} }}"
    async with counted_turns() as turns:
        answer = await schema.execute(text, context_value=DataLoader(counted, cache=False))
    assert answer.data == {"leaves": [{"loaded": n} for n in range(10 * STARTED_AT_ONCE)]}
    assert STARTED_AT_ONCE <= min(asked) <= max(asked) <= 2 * STARTED_AT_ONCE
    assert turns[0] >= 10


async def test_an_operation_that_is_cancelled_leaves_nothing_behind() -> None:
    begun = asyncio.Event()

    async def never_loaded(_: list[int]) -> list[int]:
        begun.set()
        await asyncio.Event().wait()
        return []

    before = asyncio.all_tasks()
    schema = strawberry.Schema(Query, execution_context_class=ExecutionInTurns)
    text = f"{{ leaves(count: {3 * STARTED_AT_ONCE}) {{ loaded }} }}"
    operation = asyncio.create_task(schema.execute(text, context_value=DataLoader(never_loaded, cache=False)))
    await begun.wait()
    operation.cancel()
    with suppress(asyncio.CancelledError):
        await operation
    async with asyncio.timeout(10):
        # The loads are the loader's, which ends none of its own accord.
        while any("dispatch_batch" not in repr(task.get_coro()) for task in asyncio.all_tasks() - before):
            await asyncio.sleep(0)
    for task in asyncio.all_tasks() - before:
        task.cancel()


async def test_without_an_event_loop_an_operation_is_executed_at_once() -> None:
    schema = strawberry.Schema(Query, execution_context_class=ExecutionInTurns)
    answer = await asyncio.to_thread(schema.execute_sync, TEXTS[0])
    assert answer.data is not None
    assert len(answer.data["leaves"]) == 60
