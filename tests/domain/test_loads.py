"""What a load report may say, and what of it is refused."""

import math
from typing import Any

import pytest

from subgraph.domain.errors import InvalidInput
from subgraph.domain.loads import COUNT_MAX, LOADS_PER_REPORT_MAX, RATE_MAX, LoadBatch, check_batch
from tests.support.fleets import T1, T2, A


def batch(**columns: Any) -> LoadBatch:
    two = {
        "records_per_second": [1.0, 2.0],
        "bytes_per_second": [1.0, 2.0],
        "volume_bytes": [1, 2],
        "backlog": [1, 2],
    }
    return LoadBatch(A, [T1, T2], [5, 6], **{**two, **columns})


def test_zero_and_the_largest_values_are_loads() -> None:
    check_batch(batch())
    check_batch(batch(records_per_second=[0.0, RATE_MAX], bytes_per_second=[0.0, RATE_MAX]))
    check_batch(batch(volume_bytes=[0, COUNT_MAX], backlog=[0, COUNT_MAX]))


def test_a_report_about_nothing_is_acceptable() -> None:
    check_batch(LoadBatch(A, [], [], [], [], [], []))


@pytest.mark.parametrize("rate", [-0.1, math.nan, math.inf, -math.inf, RATE_MAX * 1.001])
@pytest.mark.parametrize(
    ("column", "field"), [("records_per_second", "recordsPerSecond"), ("bytes_per_second", "bytesPerSecond")]
)
def test_a_rate_that_is_none_is_refused_by_entry_and_field(rate: float, column: str, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_batch(batch(**{column: [1.0, rate]}))
    assert refused.value.path == ("loads", "1", field)
    assert refused.value.limit is not None


@pytest.mark.parametrize("count", [-1, COUNT_MAX + 1, 2**63])
@pytest.mark.parametrize(("column", "field"), [("volume_bytes", "volumeBytes"), ("backlog", "backlog")])
def test_a_count_that_is_none_is_refused_by_entry_and_field(count: int, column: str, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_batch(batch(**{column: [count, 1]}))
    assert refused.value.path == ("loads", "0", field)


def test_a_report_of_too_many_tiles_is_refused_with_its_limit() -> None:
    columns: list[Any] = [[1] * LOADS_PER_REPORT_MAX for _ in range(6)]
    check_batch(LoadBatch(A, *columns))
    for column in columns:
        column.append(1)
    with pytest.raises(InvalidInput) as refused:
        check_batch(LoadBatch(A, *columns))
    assert refused.value.limit == f"{LOADS_PER_REPORT_MAX} loads"


@pytest.mark.parametrize("column", ["epochs", "records_per_second", "bytes_per_second", "volume_bytes", "backlog"])
@pytest.mark.parametrize("values", [[1], [1, 2, 3], []])
def test_a_column_without_an_entry_for_each_tile_is_refused_by_name(column: str, values: list[int]) -> None:
    columns = {**{name: [1, 2] for name in ("epochs", "records_per_second", "bytes_per_second")}, column: values}
    given = LoadBatch(A, [T1, T2], **{"volume_bytes": [1, 2], "backlog": [1, 2], **columns})
    with pytest.raises(InvalidInput, match=column):
        check_batch(given)
