"""Owns the interface a service implements to work on tiles; the pod client calls it."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from subgraph.client.manager import OwnedTerm, Takeover, TileLoad


class TileWorker(Protocol):
    """What a service does with tiles. Each call gets all the tiles of one change; an exception ends the pod client.

    A call that is cut short, because the lease was lost meanwhile, may come again for the same terms.
    """

    async def prepare(self, terms: Sequence[OwnedTerm]) -> None:
        """Get ready to take over, while another pod works on. READY is acknowledged after it."""
        ...

    async def activate(self, takeovers: Sequence[Takeover]) -> Mapping[str, int]:
        """Raise the epoch at every sink, re-read the tail, begin to work. ACTIVE is acknowledged after it.

        The epoch is raised for each tile and for every tile it replaces. What was on its way to these, and nobody has
        worked on, is now for the tiles in their place.

        Returns:
            The tiles that a sink refused, each with the highest epoch it has seen. These are not worked on, and not
            acknowledged: somebody else has had them since.
        """
        ...

    async def release(self, terms: Sequence[OwnedTerm]) -> None:
        """Stop working on the tiles, or preparing them, finishing what is under way. RELEASED is acknowledged after it.

        It also comes for terms that are over already: then `may_work` says no before it is called.
        """
        ...

    def loads(self) -> Sequence[TileLoad]:
        """What was measured since the last call, of tiles owned now."""
        ...
