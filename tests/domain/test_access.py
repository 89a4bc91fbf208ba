"""Who may see and change what."""

from dataclasses import dataclass

import pytest

from subgraph.domain.access import ALL_SCOPES, STANDS_FOR, Caller, Scope, require_change, scopes_granting
from subgraph.domain.errors import NotAllowed, NotFound
from subgraph.domain.ids import TenantId


@dataclass(frozen=True)
class Belonging:
    tenant_id: TenantId
    owner_id: str
    is_main: bool = False


ANNS = Belonging(TenantId("acme"), "ann")


def caller(tenant: str, owner: str, *scopes: Scope) -> Caller:
    return Caller(TenantId(tenant), owner, frozenset(scopes))


def test_an_owner_sees_its_own_and_changes_it_with_session_write() -> None:
    assert caller("acme", "ann", Scope.SESSION_READ).may_see(ANNS)
    assert not caller("acme", "ann", Scope.SESSION_READ).may_change(ANNS)
    assert caller("acme", "ann", Scope.SESSION_WRITE).may_change(ANNS)


def test_another_owner_of_the_tenant_needs_tenant_scopes() -> None:
    assert not caller("acme", "bob", Scope.SESSION_READ, Scope.SESSION_WRITE).may_see(ANNS)
    assert caller("acme", "bob", Scope.TENANT_READ).may_see(ANNS)
    assert not caller("acme", "bob", Scope.TENANT_READ, Scope.SESSION_WRITE).may_change(ANNS)
    assert caller("acme", "bob", Scope.TENANT_WRITE).may_change(ANNS)
    assert caller("acme", "bob", Scope.ADMIN).may_change(ANNS)


def test_all_of_a_tenant_see_its_live_world_and_tenant_write_changes_it() -> None:
    main = Belonging(TenantId("acme"), "ann", is_main=True)
    assert caller("acme", "bob", Scope.SESSION_READ).may_see(main)
    assert not caller("acme", "bob", Scope.SESSION_WRITE).may_change(main)
    assert not Caller(TenantId("other"), "ann", ALL_SCOPES).may_see(main)


def test_what_the_fleet_holds_of_others_is_within_reach_of_fleet_read_alone() -> None:
    assert caller("other", "eve", Scope.FLEET_READ).reaches(TenantId("acme"))
    assert not caller("other", "eve", Scope.TENANT_WRITE, Scope.POD).reaches(TenantId("acme"))


def test_an_operator_works_in_other_tenants_and_nobody_else_does() -> None:
    operator = caller("other", "eve", Scope.FLEET_OPERATE).operating_in(TenantId("acme"))
    assert operator.may_see(ANNS)
    assert not operator.may_change(ANNS)
    assert not caller("other", "eve", Scope.FLEET_READ, Scope.TENANT_WRITE).operating_in(TenantId("acme")).may_see(ANNS)


def test_no_scope_reaches_into_another_tenant_even_under_the_same_owners_name() -> None:
    stranger = Caller(TenantId("other"), "ann", ALL_SCOPES)
    assert not stranger.may_see(ANNS)
    assert not stranger.may_change(ANNS)


def test_fleet_and_pod_scopes_show_no_session() -> None:
    assert not caller("acme", "bob", Scope.FLEET_READ, Scope.FLEET_OPERATE, Scope.POD).may_see(ANNS)


def test_whoever_may_change_may_see() -> None:
    for scope in Scope:
        for owner in ("ann", "bob"):
            one = caller("acme", owner, scope)
            assert one.may_see(ANNS) or not one.may_change(ANNS)


def test_what_is_not_to_be_seen_is_refused_exactly_like_what_never_was() -> None:
    stranger = Caller(TenantId("other"), "eve", ALL_SCOPES)
    with pytest.raises(NotFound) as foreign:
        require_change(stranger, ANNS, "s-1")
    with pytest.raises(NotFound) as absent:
        require_change(stranger, None, "s-1")
    assert vars(foreign.value) == vars(absent.value)


def test_what_may_be_seen_and_not_changed_is_refused_with_the_scope_that_would_do() -> None:
    with pytest.raises(NotAllowed) as anothers:
        require_change(caller("acme", "bob", Scope.TENANT_READ), ANNS, "s-1")
    assert anothers.value.required_scope == "tenant:write"
    with pytest.raises(NotAllowed) as own:
        require_change(caller("acme", "ann", Scope.SESSION_READ), ANNS, "s-1")
    assert own.value.required_scope == "session:write"
    require_change(caller("acme", "ann", Scope.SESSION_WRITE), ANNS, "s-1")


def test_admin_stands_for_every_scope_and_pod_for_none() -> None:
    assert all(caller("acme", "root", Scope.ADMIN).has(scope) for scope in Scope)
    assert [scope for scope in Scope if caller("acme", "pod", Scope.POD).has(scope)] == [Scope.POD]


def test_what_stands_for_a_scope_stands_for_all_that_it_holds() -> None:
    assert set(STANDS_FOR) == ALL_SCOPES
    for scope, held in STANDS_FOR.items():
        assert scope not in held
        assert all(STANDS_FOR[one] <= held for one in held)


def test_the_scopes_that_grant_one_begin_with_itself() -> None:
    assert scopes_granting(Scope.SESSION_WRITE) == (Scope.SESSION_WRITE, Scope.TENANT_WRITE, Scope.ADMIN)
