"""What becomes of tiles once the live store has lost writes: in every place, whoever held it last goes on with it."""

from collections.abc import Mapping

import h3.api.basic_int as h3
import pytest

from subgraph.domain.coverage import Coverage
from subgraph.domain.coverage.cells import cell_array
from subgraph.domain.fleet.recovery import Claim, LostSession, Regained, regain_claimed, regain_rest, tiling
from subgraph.domain.ids import PodId, TileId, tile_id, version_of
from subgraph.domain.ownership import TileRecord
from subgraph.domain.registration import RegisteredCells, RegisteredCoverage, TileTemplate
from tests.support.fleets import CELLS, SESSION, TENANT, A, B, C, fleet_of, held, pod, term, tile, tile_ids

ERA = version_of(3, 0)
ROOT = CELLS[0]
CHILDREN = sorted(h3.cell_to_children(ROOT))
GRANDCHILDREN = sorted(h3.cell_to_children(CHILDREN[0]))
TEMPLATE = TileTemplate(capacity=2.0, required={"a": "b"})
T1, T2, T3 = tile_ids(3)


def id_of(cell: int) -> TileId:
    return tile_id(SESSION, cell)


def lost(*cells: int, granted: Mapping[TileId, int] | None = None) -> LostSession:
    coverage = RegisteredCoverage(1, (RegisteredCells(cell_array(cells), TEMPLATE),))
    return LostSession(SESSION, TENANT, coverage, ERA, granted or {})


def merged(regained: list[Regained]) -> Regained:
    """All that is regained, as one."""
    tiles = {tile_id: record for one in regained for tile_id, record in one.tiles.items()}
    owners = {tile_id: claim for one in regained for tile_id, claim in one.owners.items()}
    return Regained(tiles, owners)


def claimed(
    session: LostSession, stored: Mapping[TileId, TileRecord], claims: Mapping[int, tuple[PodId, int]]
) -> Regained:
    wanted = {cell: Claim(pod_id, epoch) for cell, (pod_id, epoch) in claims.items()}
    return merged(list(regain_claimed(session, fleet_of(stored, {A: pod(), B: pod()}), wanted)))


def rest(session: LostSession, stored: Mapping[TileId, TileRecord]) -> dict[TileId, TileRecord | None]:
    return dict(merged(list(regain_rest(session, fleet_of(stored, {A: pod(), B: pod()})))).tiles)


# ── Claims ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_of_an_emptied_store_a_claimed_tile_comes_back_as_it_was_registered() -> None:
    regained = claimed(lost(*CELLS[:3]), {}, {CELLS[0]: (A, 7)})
    assert regained.tiles == {T1: TEMPLATE.record(TENANT)}
    assert regained.owners == {T1: Claim(A, 7)}


def test_what_was_never_registered_does_not_come_back() -> None:
    assert claimed(lost(CELLS[1]), {}, {CELLS[0]: (A, 7)}) == Regained({}, {})


def test_a_stored_tile_goes_to_the_pod_that_held_it_no_earlier_than_its_last_owner() -> None:
    stored = {T1: tile(owner=held(A, 5), pin=C), T2: tile(last_epoch=6), T3: tile(owner=held(A, 9))}
    claims = {CELLS[0]: (A, 5), CELLS[1]: (B, 8), CELLS[2]: (B, 8)}
    regained = claimed(lost(*CELLS[:3]), stored, claims)
    assert regained.owners == {T1: Claim(A, 5), T2: Claim(B, 8)}
    assert regained.tiles == {T1: stored[T1], T2: stored[T2]}


def test_a_later_holder_takes_the_tile_from_the_owner_that_a_store_put_back_remembers() -> None:
    stored = {T1: tile(owner=held(A, 5), next=term(C, 6, ready=True))}
    assert claimed(lost(*CELLS[:1]), stored, {CELLS[0]: (B, 9)}).owners == {T1: Claim(B, 9)}


def test_who_was_given_the_tile_in_this_era_keeps_it() -> None:
    stored = {T1: tile(owner=held(A, ERA + 4))}
    assert claimed(lost(*CELLS[:1]), stored, {CELLS[0]: (B, 9)}) == Regained({}, {})


def test_of_two_that_claim_one_after_the_other_the_one_that_held_it_later_gets_it_once() -> None:
    stored = {T1: tile(owner=held(A, ERA + 4))}
    session = lost(*CELLS[:1], granted={T1: 5})
    assert claimed(session, stored, {CELLS[0]: (A, 5)}) == Regained({}, {})
    assert claimed(session, stored, {CELLS[0]: (B, 4)}) == Regained({}, {})
    assert claimed(session, stored, {CELLS[0]: (B, 6)}).owners == {T1: Claim(B, 6)}


def test_a_claimed_part_brings_the_rest_of_what_was_registered_with_it() -> None:
    regained = claimed(lost(ROOT), {}, {CHILDREN[2]: (A, 7)})
    assert set(regained.tiles) == {id_of(child) for child in CHILDREN}
    assert regained.owners == {id_of(CHILDREN[2]): Claim(A, 7)}
    resolutions = {record.registered_resolution for record in regained.tiles.values() if record}
    assert resolutions == {h3.get_resolution(ROOT)}


def test_parts_that_are_newer_than_the_whole_take_its_place() -> None:
    """The store was put back to before a split."""
    stored = {id_of(ROOT): tile(owner=held(A, 5))}
    regained = claimed(lost(ROOT), stored, dict.fromkeys(CHILDREN, (B, 9)))
    assert regained.tiles[id_of(ROOT)] is None
    assert regained.owners == {id_of(child): Claim(B, 9) for child in CHILDREN}


def test_a_whole_that_is_newer_than_its_parts_takes_their_place() -> None:
    """The store was put back to before a merge."""
    stored = {id_of(child): tile(owner=held(A, 5)) for child in CHILDREN}
    regained = claimed(lost(ROOT), stored, {ROOT: (B, 9)})
    assert regained.owners == {id_of(ROOT): Claim(B, 9)}
    assert {tile_id: record for tile_id, record in regained.tiles.items() if record} == {
        id_of(ROOT): TEMPLATE.record(TENANT)
    }
    assert len(regained.tiles) == 8


def test_a_claim_to_a_part_that_has_merged_since_gets_nothing() -> None:
    stored = {id_of(ROOT): tile(owner=held(A, 12))}
    assert claimed(lost(ROOT), stored, {CHILDREN[0]: (B, 9)}) == Regained({}, {})


def test_a_tile_that_retires_in_the_store_comes_back_anew_where_a_pod_held_it_later() -> None:
    """It split, which the store knows, and merged again, which it has forgotten."""
    stored = {id_of(ROOT): tile(retiring=True, draining=held(A, 5), last_epoch=5, retired_at_ms=1)}
    stored |= {id_of(child): tile(owner=held(A, 6)) for child in CHILDREN}
    regained = claimed(lost(ROOT), stored, {ROOT: (A, 20)})
    assert regained.tiles[id_of(ROOT)] == TEMPLATE.record(TENANT)
    assert regained.owners == {id_of(ROOT): Claim(A, 20)}


# ── The rest ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_nobody_claimed_comes_back_as_it_was_registered() -> None:
    stored = {T1: tile(owner=held(A, ERA + 1))}
    assert rest(lost(*CELLS[:3]), stored) == {T2: TEMPLATE.record(TENANT), T3: TEMPLATE.record(TENANT)}


def test_terms_that_nobody_confirmed_end() -> None:
    stored = {
        T1: tile(owner=held(A, 5), next=term(B, 6), draining=held(C, 4)),
        T2: tile(owner=held(A, ERA + 1), draining=held(B, 5)),
        T3: tile(owner=held(A, ERA + 2), next=term(B, ERA + 3)),
    }
    after = rest(lost(*CELLS[:3]), stored)
    assert after == {T1: tile(last_epoch=5), T2: tile(owner=held(A, ERA + 1))}


def test_a_retiring_tile_goes_with_its_last_unconfirmed_term() -> None:
    stored = {id_of(child): tile(owner=held(A, ERA + 1)) for child in CHILDREN}
    stored[id_of(ROOT)] = tile(retiring=True, draining=held(A, 5))
    assert rest(lost(ROOT), stored) == {id_of(ROOT): None}
    stored[id_of(ROOT)] = tile(retiring=True, draining=held(A, ERA + 5))
    assert rest(lost(ROOT), stored) == {}


def test_parts_that_leave_a_hole_are_completed() -> None:
    stored = {id_of(child): tile(owner=held(A, ERA + 1)) for child in (*CHILDREN[1:], *GRANDCHILDREN[1:])}
    (filled,) = rest(lost(ROOT), stored).items()
    assert filled[0] == id_of(GRANDCHILDREN[0])
    assert filled[1] is not None
    assert filled[1].registered_resolution == h3.get_resolution(ROOT)


def test_of_a_tile_inside_another_the_older_one_goes() -> None:
    stored = {id_of(ROOT): tile(owner=held(A, ERA + 1)), id_of(CHILDREN[0]): tile(owner=held(B, ERA + 9))}
    after = rest(lost(ROOT), stored)
    assert after.pop(id_of(ROOT)) is None
    assert set(after) == {id_of(child) for child in CHILDREN[1:]}


def test_tiles_beyond_what_was_registered_stay_without_unconfirmed_terms() -> None:
    stored = {T1: tile(owner=held(A, 5)), T2: tile()}
    assert rest(lost(), stored) == {T1: tile(last_epoch=5)}


def test_a_fleet_that_lost_nothing_is_left_alone() -> None:
    stored = {T1: tile(owner=held(A, ERA + 1)), T2: tile()}
    stored |= {id_of(child): tile(owner=held(A, ERA + 1)) for child in sorted(h3.cell_to_children(CELLS[2]))}
    assert rest(lost(*CELLS[:3]), stored) == {}


# ── Tilings ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("strengths", "tiles"),
    [
        ({}, [ROOT]),
        ({ROOT: 3}, [ROOT]),
        ({ROOT: 3, CHILDREN[0]: 3}, [ROOT]),
        ({ROOT: 3, CHILDREN[0]: 4}, CHILDREN),
        ({CHILDREN[0]: 0}, CHILDREN),
        ({CHILDREN[0]: 2, GRANDCHILDREN[0]: 3}, [*GRANDCHILDREN, *CHILDREN[1:]]),
        ({ROOT: 9, CHILDREN[0]: 2, GRANDCHILDREN[0]: 3}, [ROOT]),
        ({CHILDREN[0]: 3, GRANDCHILDREN[0]: 2}, CHILDREN),
    ],
)
def test_the_newest_epoch_decides_in_which_parts_a_cell_lies(strengths: Mapping[int, int], tiles: list[int]) -> None:
    assert sorted(tiling(ROOT, strengths)) == sorted(tiles)


def test_a_pentagon_is_tiled_without_a_hole() -> None:
    pentagon = sorted(h3.get_pentagons(3))[0]
    part = sorted(h3.cell_to_children(pentagon))[0]
    tiles = tiling(pentagon, {sorted(h3.cell_to_children(part))[2]: 1})
    assert Coverage(tiles).fills(pentagon)
