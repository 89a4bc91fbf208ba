"""Owns in which media type an answer over HTTP is given, as GraphQL over HTTP says: by what the client accepts.

https://graphql.github.io/graphql-over-http/draft/
"""

from functools import lru_cache

from starlette.responses import Response

JSON_TYPE = "application/json"
"""What GraphQL was answered in before it had a type of its own: 200 for whatever comes of a well-formed request."""

GRAPHQL_TYPE = "application/graphql-response+json"
"""Answers whose status tells whether the operation was executed at all."""

_STREAMS = ("text/event-stream", "multipart/mixed")
"""Who asks for these is told in JSON to take a WebSocket."""


@lru_cache(maxsize=64)
def answer_type(accept: str | None) -> str | None:
    """The type to answer in; None: the client accepts none of them. Without a wish it is JSON."""
    if not accept or not accept.strip():
        return JSON_TYPE
    wishes = dict(_wish(one) for one in accept.split(","))
    any_type = wishes.get("application/*", wishes.get("*/*", 0.0))
    for_json, for_graphql = wishes.get(JSON_TYPE, any_type), wishes.get(GRAPHQL_TYPE, 0.0)
    if for_graphql > 0 and for_graphql >= for_json:
        return GRAPHQL_TYPE
    return JSON_TYPE if for_json > 0 or any(wishes.get(stream) for stream in _STREAMS) else None


def give_as(response: Response, accept: str | None) -> None:
    """Have a response in JSON bear the type to answer in."""
    if answer_type(accept) == GRAPHQL_TYPE:
        response.headers["Content-Type"] = f"{GRAPHQL_TYPE}; charset=utf-8"


def _wish(media_range: str) -> tuple[str, float]:
    name, *parameters = (part.strip().lower() for part in media_range.split(";"))
    quality = next((value for key, _, value in (one.partition("=") for one in parameters) if key.strip() == "q"), "1")
    try:
        return name, float(quality)
    except ValueError:
        return name, 1.0
