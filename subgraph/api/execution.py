"""Owns how operations are executed: as graphql-core does, but long lists in turns with all else that the process does.

graphql-core completes a list in one go, and starts and completes all that is awaited for its items in one go; for the
largest lists that is seconds. Here a list is left and taken up again between two items when its operation's turn is
over, and so is a value between being awaited and being completed. What is short is executed as it always was.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, TypeVar

from graphql import GraphQLObjectType, GraphQLOutputType, GraphQLResolveInfo
from graphql.pyutils import Path, Undefined
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from subgraph.operations.turns import Turns

T = TypeVar("T")

STARTED_AT_ONCE = 200
"""Items of one list whose loads are started before others have their turn; these are loaded together."""


class ExecutionInTurns(StrawberryGraphQLCoreExecutionContext):
    """The execution of one operation; without an event loop there is nobody else, and so there are no turns."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        try:
            self._turns: Turns | None = Turns()
        except RuntimeError:
            self._turns = None

    async def with_abort_signal(self, awaitable: Awaitable[T]) -> T:
        """Await what a resolver answered: thousands of loads may end at once, and each is completed in its turn."""
        value = await super().with_abort_signal(awaitable)
        if self._turns is not None and self._turns.is_over():
            await self._turns.next()
        return value

    def execute_fields(
        self,
        parent_type: GraphQLObjectType,
        source_value: Any,
        path: Path | None,
        grouped_field_set: Any,
        position_context: Any,
    ) -> Any:
        """Execute fields: those that follow one with which its turn was over, in a later one."""
        turns = self._turns
        if turns is None:
            return super().execute_fields(parent_type, source_value, path, grouped_field_set, position_context)
        results: dict[str, Any] = {}
        awaited: list[str] = []
        waiting = iter(grouped_field_set.items())

        def go_on() -> bool:
            for name, details in waiting:
                result = self.execute_field(
                    parent_type, source_value, details, Path(path, name, parent_type.name), position_context
                )
                if result is not Undefined:
                    results[name] = result
                    if self.is_awaitable(result):
                        awaited.append(name)
                        # What was completed at once was short, or a list, which looks at the clock itself.
                        if turns.is_over():
                            return False
            return True

        def give_up() -> None:
            if awaited:
                self._abandon([results[name] for name in awaited], turns)

        is_whole = _first_turn(go_on, give_up)
        if is_whole and not awaited:
            return results

        async def rest() -> dict[str, Any]:
            if not is_whole:
                await _further_turns(turns, go_on, give_up)
            values = await self._each([results[name] for name in awaited], turns)
            results.update(zip(awaited, values, strict=True))
            return results

        return rest()

    def complete_iterable_value(
        self,
        item_type: GraphQLOutputType,
        field_details_list: Any,
        info: GraphQLResolveInfo[Any],
        path: Path,
        items: Iterable[Any],
        position_context: Any,
    ) -> Any:
        """Complete a list: at once as far as its turn reaches, and the rest in later ones."""
        turns = self._turns
        if turns is None:
            return super().complete_iterable_value(item_type, field_details_list, info, path, items, position_context)
        completed: list[Any] = []
        awaited: list[int] = []
        waiting = enumerate(items)

        def go_on() -> bool:
            """Complete what follows, as far as the turn reaches; whether that is all."""
            for index, item in waiting:
                item_path = path.add_key(index, None)
                if self.is_awaitable(item):
                    completed.append(
                        self.complete_awaitable_list_item_value(
                            item, item_type, field_details_list, info, item_path, position_context
                        )
                    )
                    awaited.append(index)
                elif self.complete_list_item_value(
                    item, completed, item_type, field_details_list, info, item_path, position_context
                ):
                    awaited.append(index)
                if turns.is_over():
                    return False
            return True

        def give_up() -> None:
            """After an error that leaves nothing of the list: nothing that was begun stays behind unseen."""
            left = [completed[index] for index in awaited]
            left += [item for _, item in waiting if self.is_awaitable(item)]
            if left:
                self._abandon(left, turns)

        is_whole = _first_turn(go_on, give_up)
        if is_whole and not awaited:
            return completed

        async def rest() -> list[Any]:
            if not is_whole:
                await _further_turns(turns, go_on, give_up)
            for index, value in zip(awaited, await self._each([completed[i] for i in awaited], turns), strict=True):
                completed[index] = value
            return completed

        return rest()

    async def _each(self, awaitables: list[Awaitable[Any]], turns: Turns) -> list[Any]:
        """What they come to, started some at a time; the first failure ends them all."""
        if len(awaitables) == 1:
            return [await awaitables[0]]
        begun: list[asyncio.Future[Any]] = []
        try:
            for some in _batches(awaitables):
                if begun:
                    await turns.next()
                begun += [asyncio.ensure_future(_begin(one, turns)) for one in some]
            await asyncio.sleep(0)
            return await asyncio.gather(*begun)
        except BaseException:
            self._abandon(awaitables[len(begun) :], turns)
            await _end(begun)
            raise

    def _abandon(self, awaitables: list[Awaitable[Any]], turns: Turns) -> None:
        """See to it that nothing is left unawaited, and what it holds neither: each is begun, and at once cancelled."""

        async def end_each() -> None:
            for some in _batches(awaitables):
                await turns.next()
                await _end([asyncio.ensure_future(one) for one in some])

        ending = asyncio.ensure_future(end_each())
        self.background_futures.add(ending)
        ending.add_done_callback(self.background_futures.discard)


def _first_turn(go_on: Callable[[], bool], give_up: Callable[[], None]) -> bool:
    """Go on as far as the turn reaches; whether that is all. After a failure all is given up."""
    try:
        return go_on()
    except Exception:
        give_up()
        raise


async def _further_turns(turns: Turns, go_on: Callable[[], bool], give_up: Callable[[], None]) -> None:
    """Go on, turn after turn, until that is all. After a failure, or when cancelled, all is given up."""
    try:
        await turns.next()
        while not go_on():
            await turns.next()
    except BaseException:
        give_up()
        raise


async def _begin(awaitable: Awaitable[T], turns: Turns) -> T:
    # It may work long before it waits for anything.
    if turns.is_over():
        try:
            await turns.next()
        except BaseException:
            await _end([asyncio.ensure_future(awaitable)])
            raise
    return await awaitable


async def _end(begun: list[asyncio.Future[Any]]) -> None:
    # What is cancelled before its first step never awaits what it holds, and Python warns of that.
    await asyncio.sleep(0)
    for one in begun:
        one.cancel()
    await asyncio.gather(*begun, return_exceptions=True)


def _batches(awaitables: list[Awaitable[Any]]) -> Iterator[list[Awaitable[Any]]]:
    for start in range(0, len(awaitables), STARTED_AT_ONCE):
        yield awaitables[start : start + STARTED_AT_ONCE]
