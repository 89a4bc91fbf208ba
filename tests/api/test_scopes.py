"""Scopes: every root field says what it needs, is refused without it, and tells it in its description."""

import re

import pytest
import strawberry
from graphql import GraphQLField, ObjectTypeDefinitionNode, parse, print_ast

from subgraph.api.entities import ENTITIES
from subgraph.api.schema import make_schema, print_sdl
from subgraph.api.scopes import ScopeMissing, enforce_scopes, needed_scopes, needs, refusal
from subgraph.domain.access import ALL_SCOPES, Caller, Scope
from subgraph.domain.ids import TenantId

SCHEMA = make_schema()._schema
ROOTS = [one for one in (SCHEMA.query_type, SCHEMA.mutation_type, SCHEMA.subscription_type) if one]
OF_FEDERATION = {"_service", "_entities"}
FOR_EVERY_CALLER = {"Query.sessionManager"}
FIELDS: dict[str, GraphQLField] = {
    f"{root.name}.{name}": field for root in ROOTS for name, field in root.fields.items() if name not in OF_FEDERATION
}


def bearer_of(*scopes: Scope) -> Caller:
    return Caller(TenantId("acme"), "ann", frozenset(scopes))


@pytest.mark.parametrize("name", FIELDS)
def test_every_root_field_says_which_scopes_it_needs(name: str) -> None:
    any_of = needed_scopes(FIELDS[name])
    assert any_of is not None
    assert bool(any_of) == (name not in FOR_EVERY_CALLER), "only what tells nothing may be for everybody"


@pytest.mark.parametrize("name", sorted(FIELDS.keys() - FOR_EVERY_CALLER))
def test_its_description_ends_with_them(name: str) -> None:
    field = FIELDS[name]
    assert (field.description or "").endswith(f"Requires {' or '.join(needed_scopes(field) or ())}.")


def test_what_pods_do_needs_the_scope_of_pods_and_that_alone() -> None:
    of_pods = {name for name, field in FIELDS.items() if needed_scopes(field) == (Scope.POD,)}
    assert of_pods == {
        "Mutation.registerPod",
        "Mutation.heartbeatPod",
        "Mutation.reportTileLoads",
        "Mutation.acknowledgeAssignments",
        "Mutation.deregisterPod",
        "Subscription.podAssignments",
    }


def test_a_scope_that_only_reads_is_enough_for_no_mutation() -> None:
    reader = bearer_of(Scope.SESSION_READ, Scope.TENANT_READ, Scope.FLEET_READ)
    for name, field in FIELDS.items():
        if name.startswith("Mutation."):
            assert refusal(reader, needed_scopes(field) or ()), name


def test_admin_may_do_everything_and_who_bears_nothing_next_to_nothing() -> None:
    for name, field in FIELDS.items():
        any_of = needed_scopes(field) or ()
        assert refusal(bearer_of(Scope.ADMIN), any_of) is None
        assert (refusal(bearer_of(), any_of) is None) == (name in FOR_EVERY_CALLER)


def test_every_entity_needs_a_scope() -> None:
    assert all(entity.needs for entity in ENTITIES.values())


def test_there_is_no_schema_with_a_root_field_that_says_nothing() -> None:
    @strawberry.type
    class Query:
        @strawberry.field
        @needs(Scope.FLEET_READ)
        def guarded(self) -> int:
            return 1

        @strawberry.field
        def forgotten(self) -> int:
            return 1

    with pytest.raises(ScopeMissing, match=r"Query\.forgotten"):
        enforce_scopes(strawberry.Schema(Query)._schema, directives=False)


def test_by_default_the_sdl_has_no_directives_of_scopes_because_apollo_gateway_refuses_them() -> None:
    sdl = print_sdl()
    assert "@requiresScopes" not in sdl
    assert "@authenticated" not in sdl


def test_as_directives_the_sdl_lists_every_scope_that_is_enough() -> None:
    sdl = print_sdl(scope_directives=True)
    assert 'import: ["@authenticated", "@key", "@requiresScopes", "@shareable"]' in sdl
    assert '): SessionPayload! @requiresScopes(scopes: [["session:write"]' in sdl
    assert "sessionManager: SessionManagerInfo! @authenticated" in sdl
    told = scopes_told(sdl)
    for name, field in FIELDS.items():
        if any_of := needed_scopes(field):
            assert told[name] == {scope for scope in ALL_SCOPES if refusal(bearer_of(scope), any_of) is None}, name


def scopes_told(sdl: str) -> dict[str, set[str]]:
    """Per field with @requiresScopes, the scopes any one of which is enough."""
    told = {}
    for one in parse(sdl).definitions:
        if not isinstance(one, ObjectTypeDefinitionNode):
            continue
        for field in one.fields or ():
            for directive in field.directives or ():
                if directive.name.value == "requiresScopes":
                    (argument,) = directive.arguments or ()
                    (_, *lists) = re.findall(r"\[([^\[\]]*)\]", f"[]{print_ast(argument)}")
                    told[f"{one.name.value}.{field.name.value}"] = {text.strip('"') for text in lists}
    return told


def test_printing_them_once_leaves_the_next_schema_as_it_is() -> None:
    before = print_sdl()
    print_sdl(scope_directives=True)
    assert print_sdl() == before
