"""A client of a gateway: requests over HTTP, subscriptions over server-sent events."""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from tests.support.server import PLAIN

REQUEST_SECONDS_MAX = 30


@dataclass(frozen=True, slots=True)
class Gateway:
    """One GraphQL endpoint and the credentials to call it with."""

    name: str
    url: str
    authorization: str | None

    def ask(self, document: str, **variables: object) -> dict[str, Any]:
        """The whole answer: data and errors."""
        response = httpx.post(
            self.url,
            json={"query": document, "variables": variables},
            headers=self._headers({"accept": "application/json"}),
            timeout=REQUEST_SECONDS_MAX,
            verify=PLAIN,
        )
        answer: dict[str, Any] = response.json()
        return answer

    def data(self, document: str, **variables: object) -> dict[str, Any]:
        """The data of an answer that must be free of errors."""
        answer = self.ask(document, **variables)
        assert "errors" not in answer, answer
        data: dict[str, Any] = answer["data"]
        return data

    async def events(self, document: str, **variables: object) -> AsyncIterator[dict[str, Any]]:
        """The results of a subscription, as they arrive, until the gateway completes it."""
        async with (
            httpx.AsyncClient(timeout=httpx.Timeout(REQUEST_SECONDS_MAX), verify=PLAIN) as client,
            client.stream(
                "POST",
                self.url,
                json={"query": document, "variables": variables},
                headers=self._headers({"accept": "text/event-stream"}),
            ) as response,
        ):
            async for line in response.aiter_lines():
                field, _, value = line.partition(":")
                if field == "data" and value.strip():
                    yield json.loads(value)

    def _headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        return {**headers, **({"authorization": self.authorization} if self.authorization else {})}
