"""`simulate`: what other values would have made of an incident."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from supervisor.cli import main
from supervisor.core.policy import Policy
from tests.core.timeline import FROZEN_IDLE, IDLE, LIVELOCKED, STOPPED, WORKING
from tests.fakes.daemon import FakeDaemon
from tests.fakes.documents import status, target
from tests.fakes.incidents import incident
from tests.fakes.recordings import FAILS, HANGS, bundle
from tests.test_layers import SLOW, loaded_by

pytestmark = pytest.mark.usefixtures("in_utc")
Ctl = Callable[..., tuple[int, str, str]]

RECOVERS = [*[IDLE] * 5, *[FROZEN_IDLE] * 4, *[IDLE] * 4]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    """A daemon that knows two targets and no incident."""
    with FakeDaemon(tmp_path / "control.sock", status=status(target("general"), target("code"))) as daemon:
        yield daemon


@pytest.fixture
def ctl(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> Ctl:
    """Run the command; return its exit status, stdout and stderr."""

    def run(*words: str) -> tuple[int, str, str]:
        code = main(["--server", daemon.url, "simulate", *words])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture
def kept(daemon: FakeDaemon) -> Callable[..., None]:
    """Have the daemon remember an incident with these bundles."""

    def keep(*bundles: Any) -> None:
        daemon.incidents = [incident(evidence=list(bundles))]

    return keep


def outcomes(told: tuple[int, str, str]) -> list[tuple[float | None, float | None]]:
    """Return when it would have been restarted, as it was set and as it was changed, of every bundle."""
    documents = json.loads(told[1])["simulations"]
    return [
        (each["recorded"]["restarted_at_s"], each["changed"] and each["changed"]["restarted_at_s"])
        for each in documents
    ]


# --- what it tells ----------------------------------------------------------------------------------------------------


def test_a_hang_is_told_as_it_was_and_as_it_would_have_been_side_by_side(kept: Callable[..., None], ctl: Ctl) -> None:
    kept(bundle(HANGS))

    code, out, err = ctl("general", "--set", "hung_after_s=20")

    assert (code, err) == (0, "")
    assert (
        out
        == """\
general, Nov 23 11:45:08: 72 observations over 28.0 s

              as it was set                     hung_after_s=20
routers told  8.0 s before: suspect, counters   8.0 s before: suspect, counters
              silent, cpu idle                  silent, cpu idle
              (CountersSilent)                  (CountersSilent)
restarted     at the end: hung, counters        12.0 s later, had it stayed so:
              silent, cpu idle                  hung, counters silent, cpu idle
              (CountersSilent)                  (CountersSilent)
"""
    )


def test_less_patience_ends_the_replay_before_the_recording_and_that_is_said(
    kept: Callable[..., None], ctl: Ctl
) -> None:
    kept(bundle(HANGS))

    code, out, _ = ctl("general", "--set", "hung_after_s=3")

    assert code == 0
    assert "5.0 s before: hung" in out
    assert out.endswith("\nA replay ends with a restart: what was seen after it did not follow from it.\n")


def test_without_a_change_it_is_told_as_it_was(kept: Callable[..., None], ctl: Ctl) -> None:
    kept(bundle(FAILS))

    code, out, _ = ctl("general")

    assert code == 0
    assert (
        out
        == """\
general, Nov 23 11:45:08: 80 observations over 34.0 s

              as it was set
routers told  4.0 s before: suspect (BadAnswer)
restarted     at the end: failing (BadAnswers)
"""
    )


def test_one_that_recovers_by_itself_is_not_restarted(kept: Callable[..., None], ctl: Ctl) -> None:
    kept(bundle(RECOVERS))

    _, out, _ = ctl("general", "--set", "hung_after_s=3")

    assert "well again" in out
    assert "not at all: up in the end" in out
    assert "4.0 s before: hung" in out


def test_one_that_is_borne_for_longer_than_anybody_looks_on_is_said_to_be(kept: Callable[..., None], ctl: Ctl) -> None:
    kept(bundle(HANGS))

    _, out, _ = ctl("general", "--set", "hung_after_s=9999", "--set", "stall_after_s=9999")

    assert "not at all, nor within 1 h" in out


def test_one_that_an_operator_stopped_is_not_said_to_be_in_trouble(kept: Callable[..., None], ctl: Ctl) -> None:
    kept(bundle([IDLE, IDLE, *[STOPPED] * 3]))

    assert "restarted     not at all: stopped in the end" in ctl("general")[1]


def test_one_that_was_out_of_routing_all_the_time_is_said_to_be(kept: Callable[..., None], ctl: Ctl) -> None:
    kept(bundle([IDLE, WORKING, *[LIVELOCKED] * 700]))

    _, out, _ = ctl("general")

    assert "routers told  before it begins" in out
    assert "restarted     at the end: hung, counters silent, cpu burning (CountersSilent)" in out


def test_machines_are_told_every_step(kept: Callable[..., None], ctl: Ctl) -> None:
    kept(bundle(HANGS))

    code, out, err = ctl("general", "--set", "hung_after_s=20", "--set", "failure_threshold=5", "-f", "json")

    (told,) = json.loads(out)["simulations"]
    assert (code, err) == (0, "")
    assert told["changes"] == {"hung_after_s": 20.0, "failure_threshold": 5}
    assert (told["target"], told["observations"], told["lasted_s"]) == ("general", 72, 28.0)
    assert (told["recorded"]["told_at_s"], told["recorded"]["restarted_at_s"]) == (-8.0, 0.0)
    assert (told["changed"]["told_at_s"], told["changed"]["restarted_at_s"]) == (-8.0, 12.0)
    assert told["recorded"]["steps"][-1] == {
        "at_s": 0.0,
        "before": "suspect",
        "after": "restarting",
        "verdict": "hung",
        "reason": "CountersSilent",
        "message": "counters silent, cpu idle",
        "restarts": True,
    }


def test_every_bundle_of_an_incident_is_told(kept: Callable[..., None], ctl: Ctl) -> None:
    kept(bundle(HANGS), bundle(FAILS))

    told = ctl("general", "-f", "json")

    assert outcomes(told) == [(0.0, None), (0.0, None)]
    assert ctl("general")[1].count("\n\ngeneral, ") == 1


# --- by which policy --------------------------------------------------------------------------------------------------


def test_what_was_set_then_holds_and_changes_come_on_top(kept: Callable[..., None], ctl: Ctl) -> None:
    kept(bundle(HANGS, policy=asdict(Policy(hung_after_s=5.0, failure_threshold=9))))

    told = ctl("general", "--set", "hung_after_s=6", "-f", "json")

    assert outcomes(told) == [(-3.0, -2.0)]


def test_where_nobody_knows_how_it_was_set_it_is_judged_by_default(kept: Callable[..., None], ctl: Ctl) -> None:
    kept({key: part for key, part in bundle(HANGS).items() if key != "policy"})

    _, out, _ = ctl("general")

    assert "              by default\n" in out
    assert "at the end: hung" in out


def test_what_is_odd_about_how_it_was_set_is_left_out(kept: Callable[..., None], ctl: Ctl) -> None:
    kept(bundle(HANGS, policy={"hung_after_s": 5.0, "stall_after_s": "long", "charm": 7}))

    assert outcomes(ctl("general", "-f", "json")) == [(-3.0, None)]


@pytest.mark.parametrize(
    ("words", "cure"),
    [
        ("hung_after=20", "there is no 'hung_after' in a policy; did you mean hung_after_s"),
        ("hung_after_s", "'hung_after_s' is not KEY=VALUE; say it like hung_after_s=20"),
        ("hung_after_s=soon", "hung_after_s must be a number above 0, and not 'soon'"),
        ("hung_after_s=-1", "hung_after_s must be a number above 0, and not '-1'"),
        ("hung_after_s=nan", "hung_after_s must be a number above 0, and not 'nan'"),
        ("failure_threshold=2.5", "failure_threshold must be a whole number, and not 2.5"),
    ],
)
def test_a_change_that_is_none_exits_2_and_says_what_would_be_one(
    words: str, cure: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["simulate", "general", "--set", words])

    assert code == 2
    assert f"Invalid value for '--set': {cure}" in capsys.readouterr().err


def test_changes_that_contradict_how_it_was_set_are_an_error_that_names_the_key(
    kept: Callable[..., None], ctl: Ctl
) -> None:
    kept(bundle(HANGS), bundle(FAILS))

    told = ctl("general", "--set", "hung_after_s=500")

    cure = "stall_after_s = 120 must be at least hung_after_s (500): weak evidence needs longer than strong"
    assert told == (1, f"general: ERROR ({cure})\n", "")


def test_what_contradicted_itself_then_is_nobodys_error_now(kept: Callable[..., None], ctl: Ctl) -> None:
    kept(bundle(HANGS, policy={"hung_after_s": 500.0}))

    assert ctl("general", "--set", "canary_every_s=30")[0] == 0


@pytest.mark.parametrize("word", ["2026", "x" * 1000])
def test_what_is_not_remembered_is_an_error(ctl: Ctl, word: str) -> None:
    code, out, _ = ctl(word)

    assert code == 1
    assert out.startswith(f"{word}: ERROR (no such incident, and no such process")


# --- how light it is -------------------------------------------------------------------------------------------------


def test_it_loads_nothing_slow() -> None:
    loaded = loaded_by("import supervisor.cli.commands.simulate") - loaded_by("pass")

    assert loaded & SLOW == set()
    assert loaded - set(sys.stdlib_module_names) == {"supervisor", "click"}


def test_no_other_command_waits_for_it() -> None:
    read = "import supervisor.cli; supervisor.cli.main(['status', '--help'])"
    shown = f"{read}; import sys; print([name for name in sys.modules if 'simulate' in name or 'replay' in name])"

    ran = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, check=True)

    assert ran.stdout.splitlines()[-1] == "[]"
