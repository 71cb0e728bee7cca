"""The status table: supervisorctl's layout, to the column."""

from datetime import UTC, datetime
from typing import Any

import pytest

from supervisor.cli.status_table import rows
from tests.fakes.documents import target


def test_the_table_is_supervisorctls_to_the_column() -> None:
    stopped_at = datetime(2026, 11, 23, 11, 45).astimezone(UTC).isoformat()
    targets = [
        target("general", uptime_s=183851.9, summary="ready, first token 0.41s, 12s ago"),
        target("planner", pid=4188, uptime_s=2467.0, summary="busy, 38 tok/s, slot 1/1"),
        target("code", state="BACKOFF", summary="hung: no progress for 14s, cpu idle; restart 2/5 in 18s"),
        target("vision", state="STOPPED", pid=None, stopped_at=stopped_at, summary="stopped by the operator"),
        target("router", kind="router", pid=990, uptime_s=18602.0, summary="ready, end to end 1.2s"),
    ]

    assert (
        "\n".join(rows(targets))
        == """\
general                          RUNNING   pid 4121, uptime 2 days, 3:04:11; ready, first token 0.41s, 12s ago
planner                          RUNNING   pid 4188, uptime 0:41:07; busy, 38 tok/s, slot 1/1
code                             BACKOFF   hung: no progress for 14s, cpu idle; restart 2/5 in 18s
vision                           STOPPED   Nov 23 11:45 AM; stopped by the operator
router                           RUNNING   pid 990, uptime 5:10:02; ready, end to end 1.2s"""
    )


@pytest.mark.parametrize(
    ("changes", "description"),
    [
        pytest.param({"pid": None}, "uptime 0:01:00; ready", id="no-pid"),
        pytest.param({"uptime_s": None}, "pid 4121; ready", id="no-uptime"),
        pytest.param({"pid": None, "uptime_s": None}, "ready", id="neither"),
        pytest.param({"summary": ""}, "pid 4121, uptime 0:01:00", id="no-summary"),
        pytest.param({"uptime_s": 86400.0}, "pid 4121, uptime 1 day, 0:00:00; ready", id="one-day"),
        pytest.param({"uptime_s": -3.0}, "pid 4121, uptime 0:00:00; ready", id="clock-set-back"),
        pytest.param({"state": "STARTING", "summary": "warming"}, "warming", id="not-running"),
        pytest.param({"state": "STOPPED", "summary": "not started"}, "not started", id="never-ran"),
    ],
)
def test_what_is_not_known_is_left_out(changes: dict[str, Any], description: str) -> None:
    [row] = rows([target("general", **changes)])

    assert row[43:] == description


def test_a_wide_name_widens_its_column_for_all() -> None:
    assert [row.index("RUNNING") for row in rows([target("x" * 40), target("general")])] == [43, 43]


def test_words_from_a_model_server_cannot_take_over_the_terminal() -> None:
    [row] = rows([target("general", summary="failing: \x1b[2Jboo\nsecond line")])

    assert row.endswith("failing:  [2Jboo second line")
