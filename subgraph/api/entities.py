"""Owns how other subgraphs' references resolve: batched loads per type, errors per index, unknown fields ignored."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphql import GraphQLError

from subgraph.api.context import Info
from subgraph.api.errors import to_graphql_error
from subgraph.api.scopes import refusal
from subgraph.api.types.assignment import load_assignments
from subgraph.api.types.pod import Pod
from subgraph.api.types.session import Session
from subgraph.api.types.tile import Tile
from subgraph.domain.access import Scope
from subgraph.domain.errors import InvalidInput, SessionManagerFailure
from subgraph.operations.turns import Turns

REPRESENTATIONS_MAX = 10_000
LOADED_AT_ONCE = 1_000
"""References of one type that are loaded, before others of the process have their turn."""

References = Sequence[dict[str, object]]


async def _assignments(info: Info, keys: References) -> Sequence[object | None]:
    found = await load_assignments(info, [str(key.get("id")) for key in keys])
    return [to_graphql_error(one) if isinstance(one, SessionManagerFailure) else one for one in found]


Load = Callable[[Info, References], Awaitable[Sequence[object | None]]]


@dataclass(frozen=True, slots=True)
class Entity:
    """How references to a type resolve: its batched load, any one of its sets of key fields, any one of its scopes."""

    load: Load
    keys: Sequence[frozenset[str]]
    needs: tuple[Scope, ...]


ENTITIES: Mapping[str, Entity] = {
    "Session": Entity(Session.resolve_references, (frozenset({"id"}),), (Scope.SESSION_READ,)),
    "Tile": Entity(
        Tile.resolve_references,
        (frozenset({"id"}), frozenset({"sessionId", "h3Index"})),
        (Scope.SESSION_READ, Scope.FLEET_READ),
    ),
    "Pod": Entity(Pod.resolve_references, (frozenset({"id"}),), (Scope.FLEET_READ,)),
    "PodAssignment": Entity(_assignments, (frozenset({"id"}),), (Scope.SESSION_READ, Scope.FLEET_READ)),
}
"""The types that other subgraphs may refer to."""


async def resolve_entities(info: Info, representations: Sequence[Any]) -> list[Any]:
    """Entities in the order of their references; null for an absent one, a GraphQLError for a malformed one.

    Raises:
        InvalidInput: there are more references than REPRESENTATIONS_MAX.
    """
    if len(representations) > REPRESENTATIONS_MAX:
        raise InvalidInput(
            f"at most {REPRESENTATIONS_MAX:,} representations a request, not {len(representations):,}",
            ("representations",),
            f"{REPRESENTATIONS_MAX} representations",
        )
    turns = Turns()
    if len(representations) > LOADED_AT_ONCE:
        # To read as many from a body took as long as a turn.
        await turns.next()
    answers: list[Any] = [None] * len(representations)
    indices_of_type: defaultdict[str, list[int]] = defaultdict(list)
    for index, representation in enumerate(representations):
        problem = _problem(representation)
        if problem:
            answers[index] = GraphQLError(problem, extensions={"code": "INVALID_INPUT"})
        else:
            indices_of_type[representation["__typename"]].append(index)
    loads = [_load(info, name, [representations[i] for i in at], turns) for name, at in indices_of_type.items()]
    for indices, found in zip(indices_of_type.values(), await asyncio.gather(*loads), strict=True):
        for index, entity in zip(indices, found, strict=True):
            answers[index] = entity
    return answers


async def _load(info: Info, type_name: str, references: References, turns: Turns) -> Sequence[object | None]:
    entity = ENTITIES[type_name]
    refused = refusal(info.context.caller, entity.needs)
    if refused is not None:
        return [to_graphql_error(refused)] * len(references)
    found: list[object | None] = []
    for start in range(0, len(references), LOADED_AT_ONCE):
        if start:
            await turns.next()
        some = references[start : start + LOADED_AT_ONCE]
        try:
            found += await entity.load(info, some)
        except SessionManagerFailure as failure:
            # One store that is away takes only its own type's entities with it.
            found += [to_graphql_error(failure)] * len(some)
    return found


def _problem(representation: object) -> str | None:
    if not isinstance(representation, dict):
        return "a representation must be an object with __typename and the fields of a key"
    type_name = representation.get("__typename")
    if not isinstance(type_name, str) or type_name not in ENTITIES:
        return f"{str(type_name)[:64]!r} is not an entity of this subgraph that can be resolved"
    keys = ENTITIES[type_name].keys
    if not any(all(isinstance(representation.get(name), str | int) for name in key) for key in keys):
        wanted = " or ".join(" and ".join(sorted(key)) for key in keys)
        return f"a representation of {type_name} needs {wanted}"
    return None
