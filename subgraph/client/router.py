"""Owns routing for senders of records: it follows a session's routes, and knows when they may be outdated."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable
from typing import Any

from gql import GraphQLRequest, gql

from subgraph.client.authorization import AccessToken, Authorization
from subgraph.client.lease import boot_clock_seconds
from subgraph.client.manager import Unreachable
from subgraph.client.routes import NoRoute, Route, Routes, Why
from subgraph.client.subscription import subscribe

logger = logging.getLogger(__name__)

RETRY_SECONDS = 0.2
_ROUTES = gql(
    "subscription Routes($sessionId: ID!) { tileRoutes(sessionId: $sessionId) { "
    "version begins isComplete lagMs leaseMs routes { tileId podId epoch isAtWork } removedIds } }"
)

Follow = Callable[[], AsyncGenerator[dict[str, Any], None]]
"""Subscribes to `tileRoutes`, and answers its batches as GraphQL tells them."""


def routes_over_graphql(url: str, session_id: str, access_token: AccessToken = None) -> Follow:
    """Follows a session's routes at the session manager's GraphQL endpoint."""
    authorization = Authorization(access_token)
    request = GraphQLRequest(_ROUTES, variable_values={"sessionId": session_id})

    async def follow() -> AsyncGenerator[dict[str, Any], None]:
        async with contextlib.aclosing(subscribe(url, authorization, request)) as batches:
            async for told in batches:
                yield told["tileRoutes"]

    return follow


class Router:
    """The routes of one session, kept up to date while `run` runs. Its answers take no time.

    It never guesses: what was told last is believed until it is as old as the fleet's longest lease, by a clock that
    also runs while the machine sleeps. Then every answer is `Why.OUT_OF_TOUCH`, until more is told.
    """

    def __init__(self, session_id: str, follow: Follow, *, clock: Callable[[], float] = boot_clock_seconds) -> None:
        self._session_id = session_id
        self._follow = follow
        self._clock = clock
        self._as_of_seconds = float("-inf")
        self._lease_seconds = 0.0
        self._version = 0
        self._routes = Routes(session_id)
        self._refused: dict[str, int] = {}
        self._changed = asyncio.Condition()

    @property
    def behind_seconds(self) -> float:
        """For how long changes may have gone unseen: the session manager's own lag, and the time since it told it.

        Infinite before anything was told. The time on the way is not in it; that is at most a lease, as the next
        message must come within one of the last.
        """
        return self._clock() - self._as_of_seconds

    @property
    def is_in_touch(self) -> bool:
        """Whether what was told last may still be believed."""
        return self.behind_seconds <= self._lease_seconds

    def tile_at(self, lat: float, lng: float) -> str | NoRoute:
        """The tile that records of a place belong to, whoever owns it; OUTSIDE or OUT_OF_TOUCH otherwise.

        Raises:
            ValueError: latitude or longitude is out of range.
        """
        if not self.is_in_touch:
            return NoRoute(Why.OUT_OF_TOUCH)
        return self._routes.tile_at(lat, lng) or NoRoute(Why.OUTSIDE)

    def route_at(self, lat: float, lng: float) -> Route | NoRoute:
        """Whom records of a place are for.

        Raises:
            ValueError: latitude or longitude is out of range.
        """
        found = self.tile_at(lat, lng)
        return found if isinstance(found, NoRoute) else self.route_of(found)

    def route_of_cell(self, cell: str | int) -> Route | NoRoute:
        """Whom records of an H3 cell, given as a number or as text, are for."""
        if not self.is_in_touch:
            return NoRoute(Why.OUT_OF_TOUCH)
        tile_id = self._routes.tile_of(int(cell, 16) if isinstance(cell, str) else cell)
        return NoRoute(Why.OUTSIDE) if tile_id is None else self.route_of(tile_id)

    def route_of(self, tile_id: str) -> Route | NoRoute:
        """Whom a tile's records are for."""
        if not self.is_in_touch:
            return NoRoute(Why.OUT_OF_TOUCH, tile_id)
        found = self._routes.route_of(tile_id)
        if isinstance(found, Route) and found.epoch <= self._refused.get(tile_id, 0):
            return NoRoute(Why.MOVING, tile_id)
        return found

    def refuse(self, route: Route, newer_epoch: int | None = None) -> None:
        """A pod or a sink has refused a record sent by a route: there is none until a higher epoch is told.

        Args:
            route: the route that was taken.
            newer_epoch: the epoch that whoever refused knows of, if it said so, such as a sink's highest: lower ones
                are refused as well.
        """
        refused = max(route.epoch, (newer_epoch or 0) - 1)
        self._refused[route.tile_id] = max(refused, self._refused.get(route.tile_id, 0))

    async def wait_for(self, condition: Callable[["Router"], object], timeout_seconds: float) -> None:
        """Wait until a condition holds, looked at after everything that is told.

        Raises:
            TimeoutError: it did not come to hold in time.
        """
        async with asyncio.timeout(timeout_seconds), self._changed:
            await self._changed.wait_for(lambda: condition(self))

    async def run(self) -> None:
        """Follow until cancelled, again after every interruption.

        Raises:
            CallRefused: the session is not there for this caller.
        """
        while True:
            try:
                await self._read()
            except Unreachable as error:
                logger.warning("the routes of session %s are followed anew: %s", self._session_id, error)
            await asyncio.sleep(RETRY_SECONDS)

    async def _read(self) -> None:
        coming: Routes | None = None
        heard_at = self._clock()
        async with contextlib.aclosing(self._follow()) as batches:
            async for batch in batches:
                now = self._clock()
                lease_seconds = batch["leaseMs"] / 1_000
                if now > heard_at + lease_seconds:
                    raise Unreachable("after a pause, what waits in the socket is as old as the pause")
                heard_at = now
                if batch["version"] < self._version:
                    raise Unreachable(f"at {batch['version']}, behind {self._version}, which was told before")
                if batch["begins"]:
                    coming = Routes(self._session_id)
                if coming is None:
                    raise Unreachable("the routes did not begin at their beginning")
                for route in batch["routes"]:
                    coming.tell(route["tileId"], route["podId"], route["epoch"], route["isAtWork"])
                coming.forget(batch["removedIds"])
                if batch["isComplete"]:
                    # A beginning counts only as a whole: until then what was told before is what is known.
                    self._routes, self._version, self._lease_seconds = coming, batch["version"], lease_seconds
                    self._as_of_seconds = now - batch["lagMs"] / 1_000
                    self._forget_refusals()
                    async with self._changed:
                        self._changed.notify_all()

    def _forget_refusals(self) -> None:
        for tile_id, epoch in list(self._refused.items()):
            match self._routes.route_of(tile_id):
                case Route() as told if told.epoch > epoch:
                    del self._refused[tile_id]
                case NoRoute(Why.OUTSIDE):
                    del self._refused[tile_id]
