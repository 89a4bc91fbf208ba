"""Names of sessions: how they are compared, which are refused, and how a taken one is numbered."""

from itertools import islice

import pytest

from subgraph.domain.errors import InvalidInput
from subgraph.domain.naming import (
    DISPLAY_NAME_LENGTH_MAX,
    SUFFIX_MAX,
    check_name,
    normal_name,
    numbered,
    retired_main_name,
    search_text,
)

AN_ID = "0a1b2c3d-0a1b-4c2d-8e3f-0a1b2c3d4e5f"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Zürich", "Zürich"),
        ("Zu\u0308rich", "Zürich"),
        ("  Zürich\t\n", "Zürich"),
        ("\u00a0a\u2003b\u3000", "a\u2003b".replace("\u2003", "\u2003")),
        ("\u212b", "Å"),
        ("ﬁ", "ﬁ"),
        ("a  b", "a  b"),
        ("   ", ""),
    ],
)
def test_a_name_is_kept_trimmed_and_composed(text: str, name: str) -> None:
    assert normal_name(text) == name
    assert normal_name(name) == name


def test_a_name_that_fits_once_it_is_composed_is_composed_and_what_never_fits_is_left_as_it_is() -> None:
    of_four = "\u03b1\u0313\u0300\u0345"
    assert normal_name(f" {of_four * DISPLAY_NAME_LENGTH_MAX}\n") == "\u1f82" * DISPLAY_NAME_LENGTH_MAX
    too_long = of_four * DISPLAY_NAME_LENGTH_MAX + "e"
    assert normal_name(too_long) == too_long
    with pytest.raises(InvalidInput):
        check_name(normal_name(too_long))


@pytest.mark.parametrize("other", ["a", "Á", "Ａ", "A."])
def test_what_can_be_told_apart_is_another_name(other: str) -> None:
    assert normal_name(other) != normal_name("A")


@pytest.mark.parametrize(
    ("name", "part", "is_found"),
    [
        ("Grand Prix", "PRIX", True),
        ("STRASSE", "straße", True),
        ("Zürich", "zu\u0308RI", True),
        ("Zürich", "zuri", False),
        ("a%b", "%", True),
        ("ab", "%", False),
    ],
)
def test_names_are_searched_without_regard_to_case(name: str, part: str, is_found: bool) -> None:
    assert (search_text(part) in search_text(name)) == is_found


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x" * (DISPLAY_NAME_LENGTH_MAX + 1),
        AN_ID,
        AN_ID.upper(),
        AN_ID.replace("-", ""),
        f"{{{AN_ID}}}",
        f"urn:uuid:{AN_ID}",
        retired_main_name(AN_ID),
        "a\0b",
        "a\nb",
        "a\x85b",
        "a\ud83db",
        "main\u200b",
        "\ufeffmain",
        "a\u202eb",
    ],
)
def test_names_that_cannot_be_are_refused(name: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_name(name)
    assert refused.value.path == ("displayName",)
    assert len(refused.value.message) < 300


def test_a_name_of_a_former_main_is_none_that_a_caller_chooses_and_may_come_along() -> None:
    with pytest.raises(InvalidInput):
        check_name(retired_main_name(AN_ID))
    check_name(retired_main_name(AN_ID), may_be_retired_main=True)


@pytest.mark.parametrize("name", ["x", "x" * DISPLAY_NAME_LENGTH_MAX, "main", "main-2", "main-track", AN_ID[:-1], "雪"])
def test_other_names_are_accepted(name: str) -> None:
    check_name(name)


def test_a_taken_name_is_numbered_from_two_up_to_a_bound() -> None:
    assert [*islice(numbered("run"), 4)] == ["run", "run-2", "run-3", "run-4"]
    assert [*numbered("run")][-1] == f"run-{SUFFIX_MAX}"


def test_a_long_name_is_cut_so_that_its_number_fits() -> None:
    names = [*numbered("x" * DISPLAY_NAME_LENGTH_MAX)]
    assert len(set(names)) == SUFFIX_MAX
    assert {len(name) for name in names} == {DISPLAY_NAME_LENGTH_MAX}
    assert [*islice(numbered("x" * 197 + "  y"), 2)][1] == "x" * 197 + "-2"


def test_no_number_makes_a_name_look_like_an_id() -> None:
    # 31 hexadecimal digits: with one more it could be a UUID.
    names = [*islice(numbered(AN_ID[:-1]), 3)]
    assert names == [AN_ID[:-1], f"{AN_ID[:-1]}-10", f"{AN_ID[:-1]}-11"]
