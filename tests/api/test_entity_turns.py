"""Whoever resolves thousands of references gives others their turn in between."""

import asyncio
from typing import Any, cast

import pytest

from subgraph.api.schema import ENTITIES_AT_ONCE, make_schema

pytestmark = pytest.mark.anyio


async def test_others_have_a_turn_after_every_hundred_references() -> None:
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(take_turns())
    # What is no reference is answered without any load, by an error in its place.
    references = cast("list[Any]", [{"__typename": "Nothing"}] * 10 * ENTITIES_AT_ONCE)
    answers = [one async for one in make_schema().entities_resolver(cast("Any", None), references)]
    other.cancel()
    assert len(answers) == len(references)
    assert turns >= 10
