"""A provider of titles over HTTP, that answers, and that misbehaves in every way."""

import asyncio
import gzip
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from subgraph.adapters import http_titles
from subgraph.adapters.http_titles import HttpTitles
from subgraph.operations.sessions.title_making import TitleNotProvided, TitleOutcome
from tests.support.title_service import TitleService, title_service

pytestmark = pytest.mark.anyio

SECRET = "a-providers-token"
QUERY = "Which trains are late?"


@asynccontextmanager
async def titles_of(url: str, seconds_max: float = 10.0, token: str | None = SECRET) -> AsyncIterator[HttpTitles]:
    titles = HttpTitles(url, token, seconds_max)
    try:
        yield titles
    finally:
        await titles.aclose()


async def failure_of(titles: HttpTitles, query: str = QUERY) -> TitleNotProvided:
    with pytest.raises(TitleNotProvided) as failure:
        await titles.title_of(query)
    return failure.value


async def test_a_provider_is_sent_the_query_alone_and_the_token_and_answers_a_title() -> None:
    with title_service() as service:
        async with titles_of(service.url) as titles:
            assert [await titles.title_of(QUERY), await titles.title_of("Züge\n?")] == ["Late trains"] * 2
        assert service.sent == [{"query": QUERY}, {"query": "Züge\n?"}]
        assert service.authorizations == [f"Bearer {SECRET}"] * 2
        async with titles_of(service.url, token=None) as titles:
            await titles.title_of(QUERY)
        assert service.authorizations[-1] is None


async def test_of_a_long_query_only_the_beginning_leaves() -> None:
    with title_service() as service:
        async with titles_of(service.url) as titles:
            await titles.title_of("a" * http_titles.QUERY_SENT_MAX + "SECRET")
        assert service.sent == [{"query": "a" * http_titles.QUERY_SENT_MAX}]


def fails(service: TitleService) -> None:
    service.status = 503


def created(service: TitleService) -> None:
    service.status = 201


def redirects(service: TitleService) -> None:
    service.status = 307
    service.headers["Location"] = service.url + "/elsewhere"


def speaks_html(service: TitleService) -> None:
    service.headers = {"Content-Type": "text/html"}


def says_nothing_of_its_content(service: TitleService) -> None:
    service.headers = {}


def answers_no_json(service: TitleService) -> None:
    service.body = b'{"title": "Late tr'


def answers_nested_lists(service: TitleService) -> None:
    service.body = b'{"title": ' + b"[" * 8_000


def answers_no_text(service: TitleService) -> None:
    service.body = b'{"title": 3}'


def answers_another_field(service: TitleService) -> None:
    service.body = b'{"name": "Late trains"}'


def answers_broken_characters(service: TitleService) -> None:
    service.body = b'{"title": "\xff\xfe"}'


def answers_too_much(service: TitleService) -> None:
    service.body = b'{"title": "' + b"a" * 5_000_000 + b'"}'


def answers_a_bomb(service: TitleService) -> None:
    service.body = gzip.compress(b'{"title": "' + b" " * 50_000_000 + b'"}')
    service.headers["Content-Encoding"] = "gzip"


def hangs_up(service: TitleService) -> None:
    service.is_cut = True


@pytest.mark.parametrize(
    ("misbehave", "outcome"),
    [
        (fails, TitleOutcome.REFUSED),
        (created, TitleOutcome.REFUSED),
        (redirects, TitleOutcome.REFUSED),
        (speaks_html, TitleOutcome.MALFORMED),
        (says_nothing_of_its_content, TitleOutcome.MALFORMED),
        (answers_no_json, TitleOutcome.MALFORMED),
        (answers_nested_lists, TitleOutcome.MALFORMED),
        (answers_no_text, TitleOutcome.MALFORMED),
        (answers_another_field, TitleOutcome.MALFORMED),
        (answers_broken_characters, TitleOutcome.MALFORMED),
        (answers_too_much, TitleOutcome.MALFORMED),
        (answers_a_bomb, TitleOutcome.MALFORMED),
        (hangs_up, TitleOutcome.UNREACHABLE),
    ],
)
async def test_what_is_no_answer_is_told_by_its_kind_and_the_next_one_is_taken(
    misbehave: Callable[[TitleService], None], outcome: TitleOutcome
) -> None:
    with title_service() as service:
        well = TitleService(service.url)
        misbehave(service)
        async with titles_of(service.url) as titles:
            failure = await failure_of(titles)
            assert failure.outcome is outcome
            assert not any(word in str(failure) for word in (QUERY, SECRET, "Late"))
            assert service.paths == ["/v1/title"]
            service.status, service.body, service.headers, service.is_cut = 200, well.body, well.headers, False
            assert await titles.title_of(QUERY) == "Late trains"


@pytest.mark.parametrize("slow", ["silent_seconds", "seconds_a_byte"])
async def test_a_provider_has_one_bound_of_time_however_it_is_slow(slow: str) -> None:
    with title_service() as service:
        setattr(service, slow, 0.4)
        async with titles_of(service.url, seconds_max=0.6 if slow == "seconds_a_byte" else 0.2) as titles:
            began = time.monotonic()
            assert (await failure_of(titles)).outcome is TitleOutcome.LATE
            assert time.monotonic() - began < 5
            setattr(service, slow, 0.0)
            assert await titles.title_of(QUERY) == "Late trains"


async def test_a_provider_that_is_away_is_unreachable() -> None:
    with title_service() as service:
        pass
    async with titles_of(service.url) as titles:
        assert (await failure_of(titles)).outcome is TitleOutcome.UNREACHABLE


async def test_few_are_asked_at_once_some_wait_and_the_rest_is_told_at_once() -> None:
    with title_service() as service:
        service.silent_seconds = 0.02
        async with titles_of(service.url, seconds_max=30) as titles:
            asked = [asyncio.create_task(titles.title_of(QUERY)) for _ in range(http_titles.ASKED_MAX)]
            await asyncio.sleep(0)
            assert (await failure_of(titles)).outcome is TitleOutcome.BUSY
            assert await asyncio.gather(*asked) == ["Late trains"] * http_titles.ASKED_MAX
            assert await titles.title_of(QUERY) == "Late trains"
        assert 1 < service.most_at_once <= http_titles.AT_ONCE_MAX


async def test_whoever_gives_up_waiting_takes_nobodys_turn() -> None:
    with title_service() as service:
        service.silent_seconds = 0.3
        async with titles_of(service.url) as titles:
            for _ in range(3):
                asked = [asyncio.create_task(titles.title_of(QUERY)) for _ in range(http_titles.ASKED_MAX)]
                await asyncio.sleep(0.05)
                for one in asked:
                    one.cancel()
                await asyncio.gather(*asked, return_exceptions=True)
            service.silent_seconds = 0.0
            assert await titles.title_of(QUERY) == "Late trains"


async def test_a_provider_on_this_machine_is_asked_past_any_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with title_service() as proxy, title_service() as service:
        for name in ("http_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url.removesuffix("/v1/title"))
        monkeypatch.setenv("no_proxy", "")
        async with titles_of(service.url) as titles:
            assert await titles.title_of(QUERY) == "Late trains"
        assert (len(service.sent), len(proxy.sent)) == (1, 0)
