"""Owns the protocol between a pod and the session manager: the calls, the messages, and how a call can fail."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

OwnedTerm = tuple[str, int]
"""A tile's id, and the epoch at which it is owned."""


class Takeover(NamedTuple):
    """A tile to begin to work on, at its epoch.

    `replaces`: tiles it came from in a split or merge, whose former owners may still write. They are shut out like
    those of the tile itself, by raising this epoch for them at every sink.
    """

    tile_id: str
    epoch: int
    replaces: tuple[str, ...] = ()


class Unreachable(Exception):
    """The session manager did not answer, or answered that it cannot at the moment: try again."""


class LeaseRefused(Exception):
    """Another instance of the pod runs, or the pod was declared lost: stop working, and register again."""


class Superseded(LeaseRefused):
    """Another process has registered under this pod's id: registering again would only fence that one in turn."""


class CallRefused(Exception):
    """The session manager refused a call for what it said: trying again will not help."""


@dataclass(frozen=True, slots=True)
class TermTold:
    """One term as the session manager tells it."""

    tile_id: str
    epoch: int
    state: str
    replaces: tuple[str, ...] = ()
    is_acknowledged: bool = False


@dataclass(frozen=True, slots=True)
class ChangeTold:
    """A step of the pod's desired state; a snapshot says all, and stands by itself."""

    version: int
    previous_version: int | None
    is_snapshot: bool
    terms: tuple[TermTold, ...]


@dataclass(frozen=True, slots=True)
class TileLoad:
    """What a pod measured of one tile: rates a second, bytes held, records waiting."""

    tile_id: str
    epoch: int
    records_per_second: float
    bytes_per_second: float = 0.0
    volume_bytes: int = 0
    backlog: int = 0


class SessionManager(Protocol):
    """The session manager as one pod sees it. Every call raises Unreachable when it is not answered.

    All but `register` raise LeaseRefused once the token is not that of the pod's running instance any more, and every
    call raises CallRefused when what it said is not acceptable.
    """

    async def register(self, registration: dict[str, Any]) -> tuple[str, ChangeTold]:
        """Register; returns the lease token and what the pod is to do, as a snapshot."""
        ...

    async def heartbeat(self, pod_id: str, token: str, applied_version: int) -> int:
        """Renew the lease; returns the newest version that concerns the pod."""
        ...

    async def report(self, pod_id: str, token: str, loads: Sequence[TileLoad]) -> None:
        """Report loads, which renews the lease; entries of terms that are over are passed over."""
        ...

    async def acknowledge(self, pod_id: str, token: str, terms: Sequence[OwnedTerm], phase: str) -> None:
        """Acknowledge that terms have reached a phase; those that are over by now are passed over."""
        ...

    async def drain(self, pod_id: str) -> None:
        """Ask for the pod's tiles to be moved away."""
        ...

    async def deregister(self, pod_id: str, token: str) -> None:
        """Leave."""
        ...

    def follow(self, pod_id: str, token: str, after_version: int | None) -> AsyncGenerator[ChangeTold, None]:
        """The pod's desired state from now on; without `after_version` it begins with a snapshot."""
        ...
