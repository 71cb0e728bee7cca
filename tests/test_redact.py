"""What users wrote and what opens doors is taken out of a log; what a server says of itself stays."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.redact import HIDDEN, LEFT_OUT, LONGEST_LINE, redacted

LOGS = Path(__file__).parent / "fixtures" / "logs"


@pytest.mark.parametrize(
    "line",
    [
        '{"messages":[{"role":"user","content":"what ails me"}]}',
        "INFO 11-24 12:00:00 [logger.py:43] Received request chatcmpl-1: prompt: 'what ails me', params: ...",
        'srv  operator(): operator(): {"prompt": "what ails me"}',
        'slot print: | prompt = "what ails me"',
    ],
)
def test_lines_that_hold_what_a_user_wrote_are_left_out(line: str) -> None:
    assert redacted(line) == LEFT_OUT


def test_what_a_user_wrote_on_further_lines_is_left_out_with_the_first() -> None:
    log = "prompt: 'dear doctor,\nI have a rash\nyours\nsrv  update_slots: all slots are idle"

    assert redacted(log) == f"{LEFT_OUT}\nsrv  update_slots: all slots are idle"


@pytest.mark.parametrize(
    "line",
    [
        "Authorization: Bearer abcdef123456",
        "api_key=abcdef123456 was given",
        '"token": "abcdef123456"',
        "using hf_abcdef123456",
        "main: --api-key abcdef123456",
    ],
)
def test_secrets_are_hidden(line: str) -> None:
    assert "abcdef123456" not in redacted(line)
    assert HIDDEN in redacted(line)


@pytest.mark.parametrize("log", sorted(LOGS.glob("*.txt")), ids=lambda path: path.stem)
def test_what_servers_say_when_they_fail_stays(log: Path) -> None:
    told = redacted(log.read_text())

    assert LEFT_OUT not in told
    assert HIDDEN not in told


def test_a_line_longer_than_servers_write_is_cut() -> None:
    told = redacted("x" * 1000)

    assert told == "x" * LONGEST_LINE + f" [and {1000 - LONGEST_LINE} characters more]"


@given(st.text(alphabet=st.characters(codec="utf-8"), min_size=6).filter(lambda text: len(set(text)) > 3))
def test_no_prompt_is_kept_however_it_is_spelled(prompt: str) -> None:
    line = " ".join(prompt.split())

    assert redacted(f'prompt: "{line}"') == LEFT_OUT
