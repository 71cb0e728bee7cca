"""How a log line looks, wherever it is read."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.log_lines import as_colours, as_json, as_text, form_for, in_journal, leads_to_journal
from tests.logs.said import AT, line

ID = "20261126-091027-general"
SAY = (
    "from loguru import logger; from supervisor import logs; logs.set_up('INFO');"
    "logger.error('general: the disk is full'); logger.debug('never')"
)


def test_a_line_for_people_has_its_time_its_level_and_the_incident_it_is_a_part_of() -> None:
    told = as_text(line(fields={"incident": ID, "target": "general"}))

    assert told == f"2026-11-26 09:10:27.045 WARNING general: up → suspect (Silent: no answer) [{ID}]"


def test_an_incident_that_the_words_name_already_is_not_named_twice() -> None:
    assert as_text(line(f"general: incident {ID} begins", fields={"incident": ID})).count(ID) == 1


@pytest.mark.parametrize(
    ("level", "number"), [("CRITICAL", 2), ("ERROR", 3), ("WARNING", 4), ("INFO", 6), ("DEBUG", 7), ("TRACE", 7)]
)
def test_the_journal_is_told_the_level_of_every_line_and_no_time(level: str, number: int) -> None:
    told = in_journal(lambda each: each.words)(
        line("our own turn failed", level=level, fault="Traceback\nValueError: 3")
    )

    assert told.split("\n") == [
        f"<{number}>our own turn failed",
        f"<{number}>    Traceback",
        f"<{number}>    ValueError: 3",
    ]


def test_a_line_for_programs_is_one_object_with_what_a_transition_says() -> None:
    fields = {"target": "general", "before": "up", "after": "suspect", "reason": "Silent", "incident": ID}

    told = json.loads(as_json(line("half a \ud83d", fields=fields, fault="Traceback\nValueError: 3", repeated=2)))

    assert told == {
        "time": "2026-11-26T09:10:27.045Z",
        "level": "warning",
        "message": "half a ?",
        **fields,
        "repeated": 2,
        "over_s": 0.0,
        "fault": "Traceback\nValueError: 3",
    }


def test_nobodys_words_can_pass_for_a_line_of_ours_or_move_the_cursor() -> None:
    told = as_text(line("general: said\n2026-11-26 09:10:28.000 ERROR   planner: \x1b[2Jgone\r\a"))

    assert told.splitlines()[1] == "    2026-11-26 09:10:28.000 ERROR   planner: \\x1b[2Jgone\\r\\x07"
    assert not {"\x1b", "\r", "\x07"} & set(told)


def test_how_often_it_was_said_is_told_in_words() -> None:
    once, often = line("full", repeated=1, over_s=12.0), line("full", repeated=37, over_s=60.0)

    assert once.words == "full (repeated once in 12 s)"
    assert often.words == "full (repeated 37 times in 60 s)"


def test_colours_are_for_terminals_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    reading, writing = os.openpty()
    with os.fdopen(writing, "w") as terminal, os.fdopen(reading, "rb"):
        on_terminal = form_for("auto", terminal)
        monkeypatch.setenv("NO_COLOR", "1")
        without = form_for("auto", terminal)

    assert "\x1b[33mWARNING\x1b[0m" in as_colours(line())
    assert (on_terminal, without, form_for("auto", io.StringIO())) == (as_colours, as_text, as_text)


def test_only_what_systemd_itself_has_connected_is_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "log").open("w") as connected, (tmp_path / "other").open("w") as redirected:
        there = os.fstat(connected.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{there.st_dev}:{there.st_ino}")

        found = [leads_to_journal(each) for each in (connected, redirected, io.StringIO())]

    assert found == [True, False, False]


@pytest.mark.parametrize(
    ("form", "begins"), [("auto", "<4>general"), ("text", "2026-11-26 09:10"), ("json", '<4>{"time": "2026-11-26T')]
)
def test_what_is_asked_for_holds_in_the_journal_too(
    form: str, begins: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "log").open("w") as journal:
        there = os.fstat(journal.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{there.st_dev}:{there.st_ino}")

        assert form_for(form, journal)(line()).startswith(begins)
        assert AT.year == 2026


def test_a_program_whose_standard_error_is_the_journal_writes_no_time_of_its_own(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as output:
        there = os.fstat(output.fileno())
        env = {**os.environ, "JOURNAL_STREAM": f"{there.st_dev}:{there.st_ino}"}
        subprocess.run([sys.executable, "-c", SAY], stderr=output, env=env, check=True)

    assert (tmp_path / "log").read_text() == "<3>general: the disk is full\n"
