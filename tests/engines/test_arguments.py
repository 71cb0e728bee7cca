"""What a command line and an environment say about sleeping, in the many ways of saying it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.engines.arguments import sleep_idle_s

SERVER = ["llama-server", "--model", "/models/m.gguf"]
VARIABLE = "LLAMA_ARG_SLEEP_IDLE_SECONDS"


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["--sleep-idle-seconds", "300"], id="two words"),
        pytest.param(["--sleep-idle-seconds=300"], id="one word"),
        pytest.param(["--sleep_idle_seconds", "300"], id="underscores, which the server takes too"),
        pytest.param(["--sleep-idle-seconds", "300", "--jinja"], id="something follows"),
        pytest.param(["--sleep-idle-seconds", "60", "--sleep-idle-seconds", "300"], id="the last one counts"),
    ],
)
def test_a_flag_says_when_the_server_sleeps(arguments: list[str]) -> None:
    assert sleep_idle_s([*SERVER, *arguments], {}) == 300.0


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("llama-server -m m.gguf --sleep-idle-seconds 300", id="plain"),
        pytest.param("exec llama-server --sleep-idle-seconds=300 -m '/models/my model.gguf'", id="quotes"),
        pytest.param("cd /models &&\nllama-server \\\n  --sleep-idle-seconds \\\n  300", id="several lines"),
        pytest.param("echo it's up; llama-server --sleep-idle-seconds 300", id="a quote that is never closed"),
    ],
)
def test_a_command_line_within_one_argument_is_read_too(line: str) -> None:
    assert sleep_idle_s(["/bin/sh", "-c", line], {}) == 300.0


def test_the_variable_says_it_where_no_flag_does() -> None:
    assert sleep_idle_s(SERVER, {VARIABLE: "300"}) == 300.0


@pytest.mark.parametrize("told", ["60", "-1", "rubbish"])
def test_a_flag_wins_over_the_variable_whatever_it_says(told: str) -> None:
    arguments = [*SERVER, "--sleep-idle-seconds", told]

    assert sleep_idle_s(arguments, {VARIABLE: "300"}) == sleep_idle_s(arguments, {})


@pytest.mark.parametrize("told", ["-1", "0", "", "never", "${IDLE:-300}", "nan", "inf", "1e999"])
def test_what_is_no_time_to_sleep_after_says_nothing(told: str) -> None:
    assert sleep_idle_s([*SERVER, "--sleep-idle-seconds", told], {}) is None
    assert sleep_idle_s(SERVER, {VARIABLE: told}) is None


def test_a_flag_without_its_value_says_nothing() -> None:
    assert sleep_idle_s([*SERVER, "--sleep-idle-seconds"], {VARIABLE: "300"}) is None


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(SERVER, id="not told at all"),
        pytest.param(["--sleep-idle-seconds-not", "300"], id="another flag"),
        pytest.param(["--alias", "sleep-idle-seconds", "300"], id="no flag"),
        pytest.param([], id="no arguments"),
    ],
)
def test_a_server_that_is_not_told_to_sleep_does_not(arguments: list[str]) -> None:
    assert sleep_idle_s(arguments, {}) is None


@given(st.lists(st.text() | st.text().map("--sleep-idle-seconds {}".format)), st.text())
def test_no_command_line_however_strange_is_an_error(arguments: list[str], told: str) -> None:
    seconds = sleep_idle_s(arguments, {VARIABLE: told})

    assert seconds is None or seconds > 0
