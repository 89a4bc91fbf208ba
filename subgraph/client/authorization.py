"""Owns how a client authenticates: not at all, by a fixed token, or by one that is renewed before it expires."""

from collections.abc import AsyncGenerator, Awaitable, Callable

import httpx

AccessToken = str | Callable[[], Awaitable[str]] | None
"""A token that lasts, or where to get the present one: asked before every call and every socket, so it had better
keep it until shortly before its end."""


class Authorization(httpx.Auth):
    """The headers of a call, which are also what a socket's first message says."""

    def __init__(self, access_token: AccessToken) -> None:
        self._access_token = access_token

    async def headers(self) -> dict[str, str]:
        """The headers, with the token of this moment."""
        token = self._access_token
        if token is None:
            return {}
        return {"Authorization": f"Bearer {token if isinstance(token, str) else await token()}"}

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Add them to a request, as httpx asks for."""
        request.headers.update(await self.headers())
        yield request
