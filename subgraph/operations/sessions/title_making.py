"""Owns how a query becomes a title: by the title provider if one is set, else from the query's first line."""

import logging
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from subgraph.domain.sessions.titles import TitleSource, title_of_query, title_provided

logger = logging.getLogger(__name__)


class TitleOutcome(StrEnum):
    """What became of asking a provider: a title, or why there is none."""

    PROVIDED = "provided"
    REJECTED = "rejected"
    """It answered what is no title: empty, too long, or an excuse."""
    BUSY = "busy"
    """Too many wait for it already."""
    LATE = "late"
    """It did not answer in time."""
    UNREACHABLE = "unreachable"
    """The connection failed, before or in the middle of an answer."""
    REFUSED = "refused"
    """It answered with another status than success."""
    MALFORMED = "malformed"
    """It answered what is no answer, or too much."""
    BROKEN = "broken"
    """It failed in a way that nobody foresaw."""


class TitleNotProvided(Exception):
    """A provider gave no title; says why, without a word of the query or of the answer."""

    def __init__(self, outcome: TitleOutcome, detail: str) -> None:
        self.outcome = outcome
        super().__init__(f"{outcome}: {detail}")


class TitleProvider(Protocol):
    """Makes titles elsewhere."""

    async def title_of(self, query: str) -> str:
        """A title for a session that begins with this query; what is no title, the rules of titles refuse.

        Promises to answer or to raise within a bounded time, however many ask at once.

        Raises:
            TitleNotProvided: there is none.
        """
        ...


@dataclass(slots=True)
class TitleMaking:
    """Makes titles of queries. A provider that fails costs nobody the title: then it is the query's first line."""

    provider: TitleProvider | None = None
    outcomes: "Counter[TitleOutcome]" = field(default_factory=Counter)
    """How often asking the provider came out how, since the start."""
    _is_failing: bool = False

    async def title_of(self, query: str) -> tuple[str, TitleSource]:
        """A title, and who made it.

        Raises:
            InvalidInput: no title can be made of the query.
        """
        fallback = title_of_query(query)
        if self.provider is None:
            return fallback, TitleSource.FALLBACK
        title = await self._provided(self.provider, query)
        return (fallback, TitleSource.FALLBACK) if title is None else (title, TitleSource.PROVIDER)

    async def _provided(self, provider: TitleProvider, query: str) -> str | None:
        try:
            title = title_provided(await provider.title_of(query))
            if title is None:
                raise TitleNotProvided(TitleOutcome.REJECTED, "what was answered is no title")
        except TitleNotProvided as failure:
            self._note_failure(failure.outcome, str(failure))
            return None
        except Exception as error:
            # By its kind alone: what an unknown failure says may hold the query.
            self._note_failure(TitleOutcome.BROKEN, type(error).__name__)
            return None
        self.outcomes[TitleOutcome.PROVIDED] += 1
        self._is_failing = False
        return title

    def _note_failure(self, outcome: TitleOutcome, why: str) -> None:
        self.outcomes[outcome] += 1
        # Once until it works again: a provider that is away is not told of with every title.
        level = logging.DEBUG if self._is_failing else logging.WARNING
        logger.log(level, "no title was provided, the query's first line is taken: %s", why)
        self._is_failing = True
