"""What systemd's own words mean, where a real one cannot be brought to say them, or is of another age."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.observations import Life
from supervisor.engines.systemd_bus import UNIT_PATH, path_of, refusal, unit_at
from supervisor.engines.systemd_state import read_unit
from supervisor.errors import EngineRefused, EngineUnreachable, TargetMissing

S = 1_000_000  # microseconds
ERROR = "org.freedesktop.DBus.Error"
# systemd 252: a server that ran from the 10th to the 20th second and was stopped by hand.
STOPPED: dict[str, Any] = {
    "Id": "benchai.service",
    "LoadState": "loaded",
    "ActiveState": "inactive",
    "SubState": "dead",
    "Type": "simple",
    "Result": "success",
    "InvocationID": bytes.fromhex("19088655d3f44239be72881de064f580"),
    "ExecMainStartTimestamp": 1_795_696_094 * S,
    "ExecMainExitTimestamp": 1_795_696_104 * S,
    "InactiveExitTimestamp": 1_795_696_094 * S,
    "InactiveEnterTimestamp": 1_795_696_104 * S,
    "InactiveExitTimestampMonotonic": 10 * S + 200,
    "ExecMainStartTimestampMonotonic": 10 * S,
    "ActiveEnterTimestampMonotonic": 10 * S + 200,
    "ActiveExitTimestampMonotonic": 20 * S,
    "ExecMainExitTimestampMonotonic": 20 * S + 500,
    "InactiveEnterTimestampMonotonic": 20 * S + 900,
    "ExecMainCode": 1,
    "ExecMainStatus": 0,
    "MainPID": 0,
    "Restart": "no",
    "RestartUSec": 100_000,
    "RuntimeMaxUSec": (1 << 64) - 1,
}
BY_ITSELF = STOPPED | {"ActiveExitTimestampMonotonic": 20 * S + 700}
WAITING = BY_ITSELF | {"InactiveExitTimestampMonotonic": 20 * S + 800, "Restart": "always", "ExecMainStatus": 3}
SET_UP = BY_ITSELF | {"ExecMainExitTimestampMonotonic": 10 * S + 2000, "ExecMainStatus": 203}


def judged(**differs: Any) -> bool:
    return read_unit(STOPPED | differs, monotonic_s=30.0).stopped_by_operator


def test_a_server_that_was_told_to_go_was_no_longer_active_when_it_went() -> None:
    assert judged()
    assert not judged(**BY_ITSELF)


@pytest.mark.parametrize("result", ["watchdog", "oom-kill", "protocol", "resources", "start-limit-hit"])
def test_what_systemd_ends_by_itself_is_nobodys_wish(result: str) -> None:
    assert not judged(Result=result)


def test_a_server_that_reached_its_runtime_limit_was_ended_by_systemd() -> None:
    assert not judged(Result="timeout", RuntimeMaxUSec=9 * S)
    assert judged(Result="timeout", RuntimeMaxUSec=60 * S)  # it was stopped, and took too long to go


@pytest.mark.parametrize(("kind", "result", "asked"), [("notify", "success", True), ("notify", "exit-code", False)])
def test_a_server_that_never_became_active_was_stopped_if_it_went_in_good_order(
    kind: str, result: str, asked: bool
) -> None:
    assert judged(Type=kind, Result=result, ActiveExitTimestampMonotonic=5 * S) is asked


def test_what_ends_at_once_and_well_without_becoming_active_was_made_to_do_so() -> None:
    assert not judged(Type="oneshot", ActiveExitTimestampMonotonic=0)


def test_a_wait_for_a_restart_that_was_cut_short_was_cut_short_by_somebody() -> None:
    cut_short = WAITING | {"InactiveEnterTimestampMonotonic": 20 * S + 50_000}
    over = WAITING | {"InactiveEnterTimestampMonotonic": 20 * S + 200_000, "ActiveState": "failed"}

    assert judged(**cut_short)
    assert not judged(**over)
    assert judged(**(over | {"ActiveState": "inactive"}))  # what systemd gives up has failed


def test_a_stop_before_the_main_process_is_told_by_how_that_ended() -> None:
    before = ("/bin/fetch", ["fetch"], False, 0, 25 * S, 0, 26 * S, 7, 2, 15)

    assert judged(ExecStartPre=[before])
    assert not judged(ExecStartPre=[before], Result="exit-code")


@pytest.mark.parametrize(
    ("differs", "life"),
    [
        ({"ActiveState": "active", "SubState": "running"}, Life.RUNNING),
        ({"ActiveState": "reloading", "SubState": "reload"}, Life.RUNNING),
        ({"ActiveState": "refreshing", "SubState": "refresh"}, Life.RUNNING),  # systemd 257
        ({"ActiveState": "active", "SubState": "exited"}, Life.RUNNING),  # RemainAfterExit=yes
        ({"ActiveState": "activating", "SubState": "start-pre"}, Life.RUNNING),
        ({"ActiveState": "activating", "SubState": "auto-restart"}, Life.RESTARTING),
        ({"ActiveState": "activating", "SubState": "auto-restart-queued"}, Life.RESTARTING),  # systemd 254
        ({"ActiveState": "failed", "SubState": "failed-before-auto-restart"}, Life.RESTARTING),
        ({"ActiveState": "active", "SubState": "running", "FreezerState": "frozen"}, Life.PAUSED),
        ({"ActiveState": "active", "SubState": "running", "FreezerState": "frozen-by-parent"}, Life.PAUSED),
        ({"ActiveState": "active", "SubState": "running", "FreezerState": "thawing"}, Life.RUNNING),
        ({"ActiveState": "maintenance", "SubState": "dead"}, Life.EXITED),
        ({"InvocationID": b""}, Life.CREATED),
        ({"InvocationID": b"", "LoadState": "bad-setting", "LoadError": ("x", "no ExecStart=")}, Life.EXITED),
        ({"InvocationID": b"", "LoadState": "masked"}, Life.EXITED),
    ],
)
def test_a_state_of_systemds_is_a_life_of_ours(differs: dict[str, Any], life: Life) -> None:
    assert read_unit(STOPPED | differs, monotonic_s=30.0).life is life


def test_what_runs_before_the_main_process_is_a_life_that_began_when_it_did() -> None:
    early = {"ActiveState": "activating", "SubState": "start-pre", "InactiveExitTimestampMonotonic": 28 * S}

    seen = read_unit(STOPPED | early | {"InactiveExitTimestamp": 1_795_696_112 * S}, monotonic_s=30.0)

    assert seen.age_s == pytest.approx(2.0)
    assert (seen.instance, seen.exit_code, seen.ended_at) == ("19088655d3f4@2026-11-26T12:28:32.000Z", None, None)


@pytest.mark.parametrize(("code", "status", "exit_code"), [(1, 0, 0), (1, 203, 203), (2, 9, 137), (3, 11, 139)])
def test_an_end_is_told_as_shells_tell_it(code: int, status: int, exit_code: int) -> None:
    assert (
        read_unit(BY_ITSELF | {"ExecMainCode": code, "ExecMainStatus": status}, monotonic_s=30.0).exit_code == exit_code
    )


def test_the_kind_of_a_units_restart_is_told_and_none_where_it_has_none() -> None:
    assert read_unit(WAITING, monotonic_s=30.0).restart_policy == "always"
    assert read_unit(STOPPED, monotonic_s=30.0).restart_policy is None


def test_of_the_environment_one_variable_is_read() -> None:
    told = {"Environment": ["LLAMA_ARG_SLEEP_IDLE_SECONDS=60", "HF_TOKEN=hush"]}

    seen = read_unit(STOPPED | told, monotonic_s=30.0)

    assert seen.sleep_idle_s == 60.0
    assert "hush" not in repr(seen)


def test_an_older_systemd_tells_less_and_is_read_all_the_same() -> None:
    few = {"LoadState": "loaded", "ActiveState": "active", "SubState": "running", "Id": "benchai.service"}

    assert read_unit(few, monotonic_s=30.0).life is Life.RUNNING


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (f"{ERROR}.AccessDenied", EngineRefused),
        (f"{ERROR}.InteractiveAuthorizationRequired", EngineRefused),
        (f"{ERROR}.NoReply", EngineUnreachable),
        (f"{ERROR}.ServiceUnknown", EngineUnreachable),
        ("org.freedesktop.systemd1.NoSuchUnit", TargetMissing),
        ("org.freedesktop.systemd1.UnitMasked", EngineRefused),
        ("org.freedesktop.systemd1.ShuttingDown", EngineRefused),
    ],
)
def test_an_error_of_theirs_is_ours_by_who_can_do_something_about_it(name: str, kind: type[Exception]) -> None:
    error = refusal(name, "in its own words", what="start benchai.service")

    assert type(error) is kind
    assert str(error).startswith("systemd did not start benchai.service: ")
    assert "in its own words" in str(error)


def test_a_secret_that_systemd_quotes_is_hidden() -> None:
    assert "hush" not in str(refusal("org.freedesktop.systemd1.LoadFailed", "--api-key hush", what="start x"))


@pytest.mark.parametrize(
    ("unit", "path"),
    [("benchai.service", "benchai_2eservice"), ("2-a@b.service", "_32_2da_40b_2eservice"), ("", "_")],
)
def test_a_units_path_is_written_as_systemd_writes_it(unit: str, path: str) -> None:
    assert path_of(unit) == f"{UNIT_PATH}/{path}"


@given(st.text(min_size=1))
def test_a_unit_is_known_again_by_its_path(unit: str) -> None:
    assert unit_at(path_of(unit)) == unit


@given(st.text())
def test_any_path_is_read_without_trouble(path: str) -> None:
    assert isinstance(unit_at(f"{UNIT_PATH}/{path}"), str)
