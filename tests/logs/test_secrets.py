"""Neither a secret nor a user's words reach the log, whoever quotes them."""

import logging as standard

import pytest
from loguru import logger

from supervisor.log_secrets import LEFT_OUT, Secrets
from supervisor.logs import _Relay
from tests.logs.said import logging

KEY = "correct-horse-battery-staple"
PROMPT = "my wife must never know"
REQUEST = f'{{"model": "m", "messages": [{{"role": "user", "content": "{PROMPT}"}}]}}'


class LoudError(Exception):
    """An error that quotes the whole request, as some libraries' do."""

    def __init__(self) -> None:
        super().__init__(f"bad request: Authorization: Bearer {KEY}\n{REQUEST}")


def fail() -> None:
    """Raise an error that another one led to."""
    try:
        raise LoudError  # noqa: TRY301 - that it has a context is the point
    except LoudError as error:
        raise ExceptionGroup(f"one of {REQUEST}", [LoudError(), ValueError(KEY)]) from error


@pytest.mark.parametrize(
    "message",
    [
        f"general: misconfigured (Unauthorized: 401, {KEY} is no key of mine)",
        f"docker: cannot reach tcp://me:{KEY}@engine:2376",
        f"general: it says: wrong header Authorization: Bearer {KEY}",
    ],
)
def test_a_secret_of_ours_is_hidden_wherever_it_stands(message: str) -> None:
    with logging(KEY) as log:
        logger.warning("{}", message)

        assert "***" in log.lines[0]
        assert KEY not in log.stream.getvalue()


@pytest.mark.parametrize("kind", ["Bearer", "Basic"])
def test_what_stands_in_a_header_is_hidden_although_nobody_told_us_of_it(kind: str) -> None:
    with logging() as log:
        logger.warning("general: refused with Authorization: {} {}", kind, KEY)

        assert KEY not in log.stream.getvalue()


def test_a_targets_name_may_sound_like_a_secret() -> None:
    with logging() as log:
        logger.info("monkey: up → suspect (Silent: token-server is silent)")

        assert log.lines == ["INFO    monkey: up → suspect (Silent: token-server is silent)"]


@pytest.mark.parametrize("said", [f"invalid header api_key={KEY}", f"could not parse {REQUEST}", f"prompt: {PROMPT}"])
def test_a_library_that_quotes_a_request_is_cut_short(said: str) -> None:
    relay = _Relay()

    with logging() as log:
        relay.emit(standard.LogRecord("h11", standard.WARNING, "h11.py", 1, said, (), None))

        assert len(log.lines) == 1
        assert KEY not in log.stream.getvalue()
        assert PROMPT not in log.stream.getvalue()


def test_an_error_that_nobody_foresaw_is_told_with_its_place_and_without_what_it_quotes() -> None:
    with logging(KEY) as log:
        try:
            fail()
        except ExceptionGroup as error:
            logger.opt(exception=error).error("general: our own turn failed")

    told = log.stream.getvalue()
    assert "test_secrets.py" in told
    assert "in fail" in told
    assert told.count("LoudError: bad request: Authorization: ***") == 2
    assert "ExceptionGroup: " in told
    assert LEFT_OUT in told
    assert PROMPT not in told
    assert KEY not in told


def test_a_secret_that_was_changed_stays_hidden_and_a_word_that_stands_for_none_is_not_one() -> None:
    secrets = Secrets([KEY, "no"])
    secrets.add(["another-key"])

    assert secrets.out_of_ours(f"no, {KEY} and another-key") == "no, *** and ***"


def test_the_longer_of_two_secrets_goes_first() -> None:
    assert Secrets(["horse", "horse-battery"]).out_of_ours("horse-battery") == "***"
