"""Owns the checks of the title provider's settings: users' queries and a secret are sent there."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from subgraph.settings.addresses import is_private_url
from subgraph.settings.texts import variable
from subgraph.settings.tokens import SECRET_PATTERN

if TYPE_CHECKING:
    from subgraph.settings import Settings

SECONDS_MIN, SECONDS_MAX = 0.1, 60.0


def problems(settings: "Settings") -> Iterator[tuple[str, str]]:
    """What is wrong: the setting, and why it is refused."""
    url, token = settings.title_provider_url, settings.title_provider_token
    if url is not None and not is_private_url(url):
        yield "title_provider_url", "must be an https URL (http only on this machine): users' queries are sent there"
    elif url is not None and ("?" in url or "#" in url):
        yield (
            "title_provider_url",
            f"has no query: a log may show it, and secrets belong in {variable('title_provider_token')}",
        )
    if token is not None and url is None:
        yield "title_provider_token", f"needs {variable('title_provider_url')}: without it nobody is shown a token"
    elif token is not None and not SECRET_PATTERN.fullmatch(token):
        yield "title_provider_token", "must have 8 to 1,000 printable ASCII characters without spaces"
    if not SECONDS_MIN <= settings.title_provider_seconds <= SECONDS_MAX:
        yield "title_provider_seconds", f"must lie between {SECONDS_MIN:g} and {SECONDS_MAX:g}"
