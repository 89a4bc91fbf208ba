"""What is told of work that waits: its beginning, a line now and then, its end; however often it is tried."""

import logging

import pytest

from subgraph.domain.errors import Unavailable
from subgraph.operations.interruptions import LOG_AGAIN_SECONDS, Interruption

logger = logging.getLogger(__name__)


class Clock:
    seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def work(clock: Clock) -> Interruption:
    return Interruption(logger, "the work", clock=clock)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]


def test_an_interruption_is_told_when_it_begins_now_and_then_and_when_it_is_over(
    work: Interruption, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    work.succeeded()
    for _ in range(2 * 50):
        work.failed("the store is away")
        clock.seconds += LOG_AGAIN_SECONDS / 50
    work.succeeded()
    work.succeeded()
    assert told(caplog) == [
        "the work waits: the store is away",
        "the work still waits, for 30 s by now: the store is away",
        "the work goes on, after 60.0 s",
    ]


def test_what_fails_every_other_time_does_not_fill_the_log(
    work: Interruption, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(100):
        work.failed("the store is away")
        clock.seconds += LOG_AGAIN_SECONDS / 100
        work.succeeded()
    assert told(caplog) == ["the work waits: the store is away", "the work goes on, after 0.3 s"]
    clock.seconds += 1
    work.failed("the store is away again")
    assert told(caplog)[2:] == ["the work waits: the store is away again"]


def test_what_is_not_told_can_be_seen_when_debugging(work: Interruption, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        work.failed("first")
        work.failed("second")
    assert [(one.levelno, one.getMessage()) for one in caplog.records] == [
        (logging.WARNING, "the work waits: first"),
        (logging.DEBUG, "the work waits: second"),
    ]


def test_around_work_a_store_that_is_away_is_told_and_goes_no_further_and_all_else_does(
    work: Interruption, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(error: Exception) -> None:
        raise error

    with work.logged():
        fail(Unavailable("the store is away"))
    with work.logged():
        pass
    with pytest.raises(ValueError, match="wrong"), work.logged():
        fail(ValueError("wrong"))
    assert told(caplog) == ["the work waits: the store is away", "the work goes on, after 0.0 s"]
