"""From the claims of a token to a caller."""

import pytest

from subgraph.domain.access import Caller, Scope
from subgraph.domain.claims import BadClaims, ClaimNames, caller_of
from subgraph.domain.ids import TenantId

NAMES = ClaimNames()
WHOLE: dict[str, object] = {"tenant": "acme", "sub": "ann", "scope": "session:read pod"}


def test_tenant_owner_and_scopes_come_from_the_claims() -> None:
    expected = Caller(TenantId("acme"), "ann", frozenset({Scope.SESSION_READ, Scope.POD}))
    assert caller_of(WHOLE, NAMES) == expected


@pytest.mark.parametrize("name", ["scope", "scp", "scopes"])
@pytest.mark.parametrize("value", ["session:read  pod", ["session:read", "pod"]])
def test_scopes_are_one_text_or_a_list_under_any_usual_name(name: str, value: object) -> None:
    claims = {"tenant": "acme", "sub": "ann", name: value}
    assert caller_of(claims, NAMES).scopes == {Scope.SESSION_READ, Scope.POD}


def test_scopes_of_several_claims_come_together() -> None:
    assert caller_of({**WHOLE, "scp": ["admin"]}, NAMES).scopes == {Scope.SESSION_READ, Scope.POD, Scope.ADMIN}


@pytest.mark.parametrize("value", ["openid profile SESSION:READ session:readx", [1, None, {"a": 1}], 7, None, {}, True])
def test_what_is_no_scope_of_ours_gives_none(value: object) -> None:
    assert caller_of({**WHOLE, "scope": value}, NAMES).scopes == frozenset()


def test_the_first_tenant_claim_there_is_counts() -> None:
    assert caller_of({"tenant_id": "b", "sub": "ann"}, NAMES).tenant_id == "b"
    assert caller_of({"tenant": "a", "tenant_id": "b", "sub": "ann"}, NAMES).tenant_id == "a"


def test_claims_can_have_other_names() -> None:
    names = ClaimNames(("https://acme.example/org",), ("email",), ("permissions",))
    claims = {"https://acme.example/org": "o1", "email": "ann@acme.example", "permissions": ["fleet:read"], **WHOLE}
    expected = Caller(TenantId("o1"), "ann@acme.example", frozenset({Scope.FLEET_READ}))
    assert caller_of(claims, names) == expected


def test_a_token_without_a_tenant_is_refused_unless_one_is_set_for_it() -> None:
    with pytest.raises(BadClaims):
        caller_of({"sub": "ann"}, NAMES)
    assert caller_of({"sub": "ann"}, NAMES, TenantId("only")).tenant_id == "only"
    assert caller_of(WHOLE, NAMES, TenantId("only")).tenant_id == "acme"


@pytest.mark.parametrize(
    "tenant", ["", " ", "../other", "a/b", "a:b", ".hidden", "-x", "x" * 129, "a\nb", 7, ["acme"], {}]
)
def test_a_tenant_that_could_name_another_place_is_refused(tenant: object) -> None:
    with pytest.raises(BadClaims):
        caller_of({**WHOLE, "tenant": tenant}, NAMES, TenantId("only"))


@pytest.mark.parametrize("owner", [None, "", 7, [], "x" * 257, "a\nb", "a\x00"])
def test_a_token_without_an_owner_is_refused(owner: object) -> None:
    with pytest.raises(BadClaims):
        caller_of({**WHOLE, "sub": owner}, NAMES)
