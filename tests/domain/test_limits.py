"""Values beyond a limit: the words name both bounds, `limit` names the one that was broken."""

import math
from datetime import timedelta

import pytest

from subgraph.domain.errors import InvalidInput
from subgraph.domain.limits import check_length, check_number, check_span

SECOND, DAY = (timedelta(seconds=1), "PT1S"), (timedelta(days=1), "P1D")


@pytest.mark.parametrize(
    ("length", "least", "limit"), [(0, 1, "1 character"), (1_001, 1, "1000 characters"), (1_001, 0, "1000 characters")]
)
def test_a_text_is_refused_with_the_bound_that_its_length_broke(length: int, least: int, limit: str) -> None:
    with pytest.raises(InvalidInput, match=r"name must have (1 to|at most) 1,000 characters, not") as refused:
        check_length("name", length, 1_000, ("name",), least=least)
    assert (refused.value.path, refused.value.limit) == (("name",), limit)


@pytest.mark.parametrize(
    ("number", "least", "most", "limit"),
    [
        (0, 1, 2**31 - 1, "1"),
        (2**31, 1, 2**31 - 1, "2147483647"),
        (-90.5, -90, 90, "-90"),
        (1e16, 1e-6, 1e15, "1e+15"),
        (0, 1e-6, 1e15, "1e-06"),
        (math.nan, 0, 1e15, "1e+15"),
        (math.inf, 0, 1e15, "1e+15"),
    ],
)
def test_a_number_is_refused_with_the_bound_that_it_broke(number: float, least: float, most: float, limit: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_number("it", number, least, most, ("it",))
    assert refused.value.limit == limit


def test_people_read_numbers_with_their_thousands_apart() -> None:
    with pytest.raises(InvalidInput, match="version must lie between 1 and 2,147,483,647, not 9,007,199,254,740,991"):
        check_number("version", 2**53 - 1, 1, 2**31 - 1, ("version",))


@pytest.mark.parametrize(("span", "limit"), [(timedelta(), "PT1S"), (timedelta(days=2), "P1D")])
def test_a_length_of_time_is_refused_with_the_bound_that_it_broke(span: timedelta, limit: str) -> None:
    with pytest.raises(InvalidInput, match="must lie between PT1S and P1D") as refused:
        check_span("it", span, SECOND, DAY, ("it",))
    assert refused.value.limit == limit


@pytest.mark.parametrize("value", [timedelta(seconds=1), timedelta(days=1)])
def test_what_lies_on_a_bound_passes(value: timedelta) -> None:
    check_span("it", value, SECOND, DAY, ("it",))
    check_number("it", value.total_seconds(), 1, 86_400, ("it",))
    check_length("it", 1, 1, ("it",))
