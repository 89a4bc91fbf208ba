"""How things are named: what is written is read back, and one thing never has two names."""

import h3
import pytest

from subgraph.domain.errors import InvalidInput
from subgraph.domain.ids import (
    ID_LENGTH_MAX,
    SessionId,
    TileId,
    assignment_id,
    parse_assignment_id,
    parse_tile_id,
    tile_id,
    version_of,
)

CELL = "8528347bfffffff"
TILE = TileId(f"s:{CELL}")


def test_any_version_of_a_later_incarnation_is_larger() -> None:
    assert version_of(1, 2**32 - 1) < version_of(2, 0) < version_of(2, 1)


def test_versions_are_exact_as_floating_point_numbers_below_two_million_incarnations() -> None:
    assert version_of(2**21 - 1, 2**32 - 1) == 2**53 - 1


@pytest.mark.parametrize("session", ["s", "3f0d2c4e-6f43-4b0a-9d4e-0c6d3ef1a001", "with:colon", "ü"])
def test_a_tile_id_is_read_as_it_was_written(session: str) -> None:
    cell = h3.str_to_int(CELL)
    assert parse_tile_id(tile_id(SessionId(session), cell)) == (session, cell)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "s",
        "s:",
        CELL,
        f":{CELL}",
        f"s:{CELL.upper()}",
        f"s:0x{CELL}",
        f"s:8_{CELL[1:]}",
        f"s: {CELL}",
        f"s:{CELL}\n",
        "s:0",
        "s:-1",
        "s:" + "f" * 15,
        "s:" + "f" * 20,
        "s:zz",
        "s:\u0663",
        "s:11283473fffffff",  # an edge, not a cell
    ],
)
def test_what_is_no_tile_id_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_tile_id(text, ("tileId",))
    assert refused.value.path == ("tileId",)


def test_a_tile_id_beyond_the_length_limit_is_refused_and_not_cut() -> None:
    longest = "s" * (ID_LENGTH_MAX - 1 - len(CELL))
    assert parse_tile_id(f"{longest}:{CELL}")[0] == longest
    for text in (f"{longest}s:{CELL}", f"{longest}:{CELL}0", f"{longest}:{CELL}:and more"):
        with pytest.raises(InvalidInput):
            parse_tile_id(text)


def test_an_assignment_id_is_read_as_it_was_written() -> None:
    epoch = version_of(2**21 - 1, 2**32 - 1)
    assert parse_assignment_id(assignment_id(TILE, epoch)) == (TILE, epoch)


@pytest.mark.parametrize(
    "text",
    [
        "",
        TILE,
        f"{TILE}@",
        f"@{5}",
        f"{TILE}@-5",
        f"{TILE}@5.0",
        f"{TILE}@05",
        f"{TILE}@0",
        f"{TILE}@\u0665",
        f"{TILE}@{10**16}",
        f"s:{CELL.upper()}@5",
        f"{'s' * ID_LENGTH_MAX}:{CELL}@5",
        f"{'s' * 1000}:{CELL}@5",
    ],
)
def test_what_is_no_assignment_id_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_assignment_id(text, ("assignmentId",))
    assert refused.value.path == ("assignmentId",)
