"""What is said of engines that cannot be asked: once when it begins, once when it is over."""

from supervisor.logs import log_engine
from tests.logs.said import logging


def test_an_engine_that_cannot_be_asked_is_told_of_once_with_the_reason_and_once_when_it_answers_again() -> None:
    with logging() as log:
        for before, now in [("", ""), ("", "the bus hangs"), ("the bus hangs", "no bus"), ("no bus", ""), ("", "")]:
            log_engine("code", before, now)

        assert log.lines == [
            "WARNING code: its engine cannot be asked, so it is not restarted: the bus hangs",
            "INFO    code: its engine answers again",
        ]
