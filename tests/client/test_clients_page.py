"""The page for downstream systems names what is there: its code compiles and imports, its links lead to files."""

import ast
import asyncio
import importlib
import re
from pathlib import Path
from typing import Any

import pytest

from subgraph.client.manager import Takeover
from subgraph.client.pod import PodClient, PodRegistration
from subgraph.client.sink import SinkRecord
from tests.support.polling import eventually
from tests.support.scripted_manager import ScriptedManager, change, snapshot
from tests.support.sinks import sql_sinks, sqlite_sinks_url

PAGE = Path(__file__).parent.parent.parent / "docs" / "clients.md"
TEXT = PAGE.read_text()
SNIPPETS = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_what_a_snippet_imports_is_there(snippet: str) -> None:
    imports = [node for node in ast.walk(ast.parse(snippet)) if isinstance(node, ast.ImportFrom)]
    assert imports
    for node in imports:
        module = importlib.import_module(str(node.module))
        assert [name.name for name in node.names if not hasattr(module, name.name)] == []


def test_every_link_leads_to_a_file() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", TEXT)
    assert links
    assert [link for link in links if not (PAGE.parent / link).exists()] == []


@pytest.mark.anyio
async def test_the_pod_of_the_page_takes_what_is_its_own_and_refuses_the_rest(tmp_path: Path) -> None:
    (snippet,) = [one for one in SNIPPETS if "class Worker" in one]
    page: dict[str, Any] = {}
    exec(snippet, page)
    manager = ScriptedManager(snapshot(1, a_5="ACTIVE"))
    async with sql_sinks(sqlite_sinks_url(tmp_path)) as open_sink:
        sink = open_sink("results", "pod-1")
        worker = page["Worker"](sink)
        await sink.raise_epoch("b", 9)
        assert await worker.activate([Takeover("b", 5)]) == {"b": 9}
        pod = PodClient(manager, PodRegistration("pod-1", "counting", 100.0), worker)
        living = asyncio.create_task(pod.run())
        await eventually(lambda: pod.may_work("a", 5), "it works")
        assert manager.acknowledged == [("a", 5, "ACTIVE")]
        assert await worker.take(pod, "a", 5, [SinkRecord(1, b"one")]) == (False, None)
        assert await worker.take(pod, "a", 4, [SinkRecord(2, b"two")]) == (True, 5)
        assert await worker.take(pod, "b", 5, [SinkRecord(1, b"one")]) == (True, None)
        await sink.raise_epoch("a", 8)
        assert await worker.take(pod, "a", 5, [SinkRecord(2, b"two")]) == (True, 8)
        manager.tell(change(2, 1, a_5="DRAINING"))
        await eventually(lambda: ("a", 5, "RELEASED") in manager.acknowledged, "it lets go")
        assert await worker.take(pod, "a", 5, [SinkRecord(2, b"two")]) == (True, None)
        living.cancel()
        await asyncio.wait([living])
        assert (await sink.totals()).accepted == 1
