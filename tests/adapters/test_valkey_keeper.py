"""An embedded Valkey that dies is started again, and ends with its keeper."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from subgraph.adapters.valkey.embedded_valkey import EmbeddedValkey, EmbeddedValkeyFailed
from subgraph.adapters.valkey.valkey_keeper import ValkeyKeeper
from tests.support.polling import eventually

pytestmark = pytest.mark.anyio


async def test_a_server_that_dies_is_started_again_where_it_was_and_ends_with_its_keeper(tmp_path: Path) -> None:
    valkey = EmbeddedValkey(tmp_path / "valkey")
    keeper = ValkeyKeeper(valkey)
    url = keeper.start()
    try:
        for count in range(3):
            async with Redis.from_url(url) as client:
                assert await client.incr("deaths") == count + 1
            died = valkey.pid
            assert died is not None

            def is_another(died: int = died) -> bool:
                return valkey.pid not in (None, died)

            os.kill(died, signal.SIGKILL)
            await eventually(is_another, "another process runs")
            await eventually(lambda: _answers(url), "it answers")
        last = valkey.pid
        assert valkey.url == url
    finally:
        await asyncio.to_thread(keeper.stop)
    assert last is not None
    with pytest.raises(ProcessLookupError):
        os.kill(last, 0)


async def test_one_that_cannot_be_started_again_for_a_while_comes_back_where_it_was(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The path is too long for a socket: it is at a place of its own, which it keeps."""
    directory = tmp_path / ("long" * 30)
    valkey = EmbeddedValkey(directory)
    keeper = ValkeyKeeper(valkey)
    url = keeper.start()
    try:
        journal = directory / "appendonlydir"
        assert valkey.pid is not None
        journal.rename(directory / "aside")
        journal.write_text("a file in the way")
        os.kill(valkey.pid, signal.SIGKILL)
        await eventually(lambda: "is not back" in caplog.text, "it fails")
        journal.unlink()
        (directory / "aside").rename(journal)
        await eventually(lambda: _answers(url), "it answers")
        assert valkey.url == url
    finally:
        await asyncio.to_thread(keeper.stop)


async def test_one_that_cannot_be_started_at_all_is_told(tmp_path: Path) -> None:
    keeper = ValkeyKeeper(EmbeddedValkey(tmp_path, binary=tmp_path / "absent"))
    with pytest.raises(EmbeddedValkeyFailed, match="absent"):
        keeper.start()
    keeper.stop()


async def _answers(url: str) -> bool:
    try:
        async with Redis.from_url(url) as client:
            return bool(await client.ping())
    except RedisError:
        return False
