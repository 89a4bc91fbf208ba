"""Owns the title provider over HTTP: one POST per title, bounded in time, concurrency and size."""

import asyncio

import httpx
import msgspec

from subgraph.operations.sessions.title_making import TitleNotProvided, TitleOutcome

AT_ONCE_MAX = 8
"""Requests under way."""
ASKED_MAX = 100
"""Titles asked for, with those that wait for their turn: whoever comes on top is told at once that there is none."""
QUERY_SENT_MAX = 4_000
"""Characters of a query that leave the system: its beginning says what a title is to say."""
BODY_BYTES_MAX = 16_384


class _Answer(msgspec.Struct):
    title: str


class HttpTitles:
    """A provider of titles at one URL."""

    def __init__(self, url: str, token: str | None, seconds_max: float) -> None:
        self._url = url
        self._seconds_max = seconds_max
        self._asked = 0
        self._turns = asyncio.Semaphore(AT_ONCE_MAX)
        # One client for life: making one reads certificates from the disk. What bounds its time is around it.
        self._http = httpx.AsyncClient(
            timeout=None,
            follow_redirects=False,
            # Through a proxy only what it cannot read.
            trust_env=url.startswith("https:"),
            limits=httpx.Limits(max_connections=AT_ONCE_MAX),
            headers={
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                "Content-Type": "application/json",
                **({} if token is None else {"Authorization": f"Bearer {token}"}),
            },
        )

    async def title_of(self, query: str) -> str:
        """What the provider answers.

        Raises:
            TitleNotProvided: it does not, in time, or too many ask already.
        """
        if self._asked >= ASKED_MAX:
            raise TitleNotProvided(TitleOutcome.BUSY, f"{ASKED_MAX} titles are asked for already")
        self._asked += 1
        try:
            async with asyncio.timeout(self._seconds_max), self._turns:
                return await self._ask(query)
        except TimeoutError:
            raise TitleNotProvided(TitleOutcome.LATE, f"not within {self._seconds_max:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise TitleNotProvided(TitleOutcome.UNREACHABLE, type(error).__name__) from error
        finally:
            self._asked -= 1

    async def aclose(self) -> None:
        """Let go of connections."""
        await self._http.aclose()

    async def _ask(self, query: str) -> str:
        body = msgspec.json.encode({"query": query[:QUERY_SENT_MAX]})
        async with self._http.stream("POST", self._url, content=body) as response:
            # A redirect is none either: the token and the query are for this URL alone.
            if response.status_code != 200:
                raise TitleNotProvided(TitleOutcome.REFUSED, f"status {response.status_code}")
            content_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            if content_type != "application/json":
                raise TitleNotProvided(TitleOutcome.MALFORMED, "the content type is not application/json")
            answer = bytearray()
            # Raw: what is packed could be of any size when unpacked, and was not asked for.
            async for part in response.aiter_raw():
                answer += part
                if len(answer) > BODY_BYTES_MAX:
                    raise TitleNotProvided(TitleOutcome.MALFORMED, f"more than {BODY_BYTES_MAX:,} bytes")
        try:
            return msgspec.json.decode(answer, type=_Answer).title
        except (msgspec.DecodeError, RecursionError, UnicodeError):
            raise TitleNotProvided(TitleOutcome.MALFORMED, 'not {"title": "…"}') from None
