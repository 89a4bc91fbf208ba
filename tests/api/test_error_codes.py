"""Codes of errors: all that may be told stand in one page, and its example follows a stream over a cut."""

import asyncio
import re
from pathlib import Path
from typing import Any

from subgraph.api.error_types import SessionManagerErrorCode
from subgraph.api.request_errors import INTERNAL, REQUEST_CODES
from tests.support.server import RunningServer
from tests.support.world import new_session

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/errors.md").read_text()
TOLD = re.compile(r'(?:"code": |refused\(\d+, (?:why|"[^"]*"), )"([A-Z_]+)"')


def test_the_page_names_every_code_that_the_server_tells() -> None:
    said = {code for module in (ROOT / "subgraph/api").rglob("*.py") for code in TOLD.findall(module.read_text())}
    assert {"SLOW_CONSUMER", "JOURNAL_PUT_BACK", "UNAUTHENTICATED"} <= said
    said |= REQUEST_CODES | {INTERNAL}
    told = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)*\b", PAGE.partition("## How a socket ends")[0]))
    assert said | {code.value for code in SessionManagerErrorCode} <= told


def test_the_pages_example_goes_on_behind_its_cursor_after_whatever_ended_it(server: RunningServer) -> None:
    parts: dict[str, Any] = {}
    exec(PAGE.partition("```python\n")[2].partition("```")[0], parts)
    seen: list[str] = []

    async def work(event: Any) -> None:
        if event["sessionId"] not in made:
            return  # the tiles of other tests' sessions may still move
        seen.append(event["sessionId"])
        if len(seen) == 1:
            raise OSError("the line is cut before the event counts as worked on")

    async def follow(after: str) -> None:
        following = asyncio.create_task(parts["follow"](server.websocket_url, lambda: "none", after, work))
        async with asyncio.timeout(30):
            while len(seen) < 3 and not following.done():
                await asyncio.sleep(0.05)
        assert following.cancel()
        await asyncio.wait([following])

    before = new_session(server)
    newest = server.data(
        "query($id: ID!) { session(ref: {id: $id}) { events { pageInfo { endCursor } } } }", id=before
    )["session"]["events"]["pageInfo"]["endCursor"]
    made = [new_session(server) for _ in range(2)]
    asyncio.run(follow(newest))
    assert seen == [made[0], *made]
