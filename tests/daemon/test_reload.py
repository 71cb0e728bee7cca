"""Settings that change while the daemon runs: what is touched, what is not, and what a bad file does."""

import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from supervisor.client import Liveness
from testbed.clients import wait_until
from tests.daemon.reloading import Town

GRACE_S = 3.0
TOKEN = "new-token"  # noqa: S105 - of nothing
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(3600)"
UNTOUCHED = ("instance", "pid", "since", "phase", "restarts", "held")


@pytest.fixture
def town(tmp_path: Path, model: Path) -> Iterator[Town]:
    with Town(tmp_path, model) as town:
        yield town


def test_only_what_differs_is_touched_and_routers_hear_of_it_as_of_any_change(town: Town) -> None:
    daemon = town.daemon
    town.serve("general")
    town.serve("code")
    town.comes_up("general", "code")
    before, document, code = daemon.target("general"), daemon.liveness(), town.pid("code")
    town.serve("math")
    town.forget("code")
    town.serve("general", policy="hung_after_s = 30.0")
    town.write()
    follower = Liveness(daemon.address, follow=True)
    with closing(follower):
        wait_until(lambda: follower.snapshot().find("code") is not None, "the follower knows of code")

        shown = daemon.ctl("reread")
        nothing_yet = town.names
        done = daemon.ctl("update")
        wait_until(lambda: follower.snapshot().find("code") is None, "the follower hears that code has left")
        wait_until(lambda: follower.snapshot().is_routable("math"), "the follower hears that math may be asked")

    after = daemon.liveness()
    assert (shown.returncode, done.returncode, nothing_yet) == (0, 0, ["general", "code"])
    assert shown.stdout.splitlines() == [
        "code: disappeared",
        "  it runs on, and is watched no more",
        "general: changed",
        "  policy.hung_after_s: 8 -> 30",
        "math: available",
    ]
    assert [line for line in done.stdout.splitlines() if not line.startswith("  ")] == [
        "code: removed process group",
        "general: updated process group",
        "math: added process group",
    ]
    assert ([each["name"] for each in after["backends"]], sorted(after["models"])) == (["general", "math"],) * 2
    assert (after["epoch"], after["revision"] > document["revision"]) == (document["epoch"], True)
    kept = daemon.target("general")
    assert {key: kept[key] for key in UNTOUCHED} == {key: before[key] for key in UNTOUCHED}
    assert psutil.pid_exists(code)
    assert daemon.ctl("reread").stdout == "No config updates to processes\n"
    assert [daemon.get(f"/v1/{path}").status_code for path in ("targets/code/why", "backends/code")] == [404, 404]
    file = json.loads(daemon.liveness_file.read_bytes())
    assert [each["name"] for each in file["backends"]] == ["general", "math"]


def test_a_bad_file_changes_nothing_and_says_why_wherever_one_looks_until_it_is_mended(town: Town) -> None:
    daemon = town.daemon
    town.serve("general")
    town.comes_up("general")
    before = daemon.target("general")
    good = daemon.settings_file.read_text()
    daemon.settings_file.write_text(
        good.replace("[http]\n", "[http]\nprot = 1\n").replace('engine = "process"', 'engine = "podman"')
    )

    daemon.signal(signal.SIGHUP)
    wait_until(lambda: bool(town.problems), "status tells of it")
    shown, done = daemon.ctl("reread"), daemon.ctl("update")
    told, problems, checked = daemon.ctl("status"), town.problems, _check(town)

    assert (shown.returncode, done.returncode) == (1, 1)
    assert shown.stdout == done.stdout == "".join(f"ERROR: {line}\n" for line in checked)
    assert len(checked) == 2
    assert problems == [
        f"settings: not reloaded, and nothing has changed: {checked[0]} (and 1 more: benchai-supervisord --check)"
    ]
    assert problems[0] in told.stderr
    assert checked[1] in daemon.log()
    daemon.settings_file.write_text(good)
    assert daemon.ctl("reload").stdout == "Reloaded benchai-supervisord\n"
    assert town.problems == []
    assert {key: daemon.target("general")[key] for key in UNTOUCHED} == {key: before[key] for key in UNTOUCHED}


def test_a_restart_under_way_is_let_end_before_its_target_is_let_go(town: Town) -> None:
    daemon = town.daemon
    town.serve("general")
    town.run("code", [sys.executable, "-c", STUBBORN], policy=f"stop_grace_s = {GRACE_S}")
    town.comes_up("general")
    daemon.wait_target("code", phase="starting")
    first = town.pid("code")
    daemon.ctl("restart", "--now", "--wait", "0", "code")
    daemon.wait_target("code", phase="restarting")
    town.forget("code")
    town.serve("math")
    town.write()

    daemon.signal(signal.SIGHUP)
    daemon.wait_target("math", verdict="ready")  # nobody else waits for it
    wait_until(lambda: town.names == ["general", "math"], "code is let go")

    assert not psutil.pid_exists(first)
    assert town.pid("code") != first
    assert psutil.pid_exists(town.pid("code"))
    assert "code: something is being done to it, and is waited for" in daemon.log()
    assert daemon.log().index("code: restart took") < daemon.log().index("settings: code: disappeared")


def test_nothing_is_changed_any_more_once_it_is_told_to_end(town: Town) -> None:
    daemon = town.daemon
    town.run("code", [sys.executable, "-c", STUBBORN], policy=f"stop_grace_s = {GRACE_S}")
    town.comes_up()
    daemon.wait_target("code", phase="starting")
    daemon.ctl("restart", "--now", "--wait", "0", "code")
    daemon.wait_target("code", phase="restarting")
    town.serve("math")
    town.write()

    daemon.signal(signal.SIGTERM)
    town.until_log("waiting for 1 engine call")
    daemon.signal(signal.SIGHUP)
    asked = daemon.ctl("update")
    ended = daemon.wait_end()

    assert ended == 0
    assert asked.stdout.startswith("ERROR: the supervisor is being ended")
    assert "settings not reloaded: the supervisor is being ended" in daemon.log()
    assert not (daemon.folder / "state" / "process" / "math.json").exists()


def test_a_signal_to_reload_cuts_its_end_short_at_no_moment(town: Town) -> None:
    daemon = town.daemon
    town.serve("general")
    town.comes_up()

    daemon.signal(signal.SIGTERM)
    while daemon.runs:
        daemon.signal(signal.SIGHUP)
        time.sleep(0.003)  # it must come to do something else too

    assert daemon.wait_end() == 0
    assert not daemon.socket.exists()


def test_a_changed_address_is_looked_at_anew_and_what_is_true_of_the_target_stays(town: Town) -> None:
    daemon = town.daemon
    town.serve("general")
    town.comes_up("general")
    daemon.ctl("hold", "general", "-m", "driver")
    daemon.ctl("restart", "general")
    before = daemon.wait_target("general", verdict="ready")
    town.serve("general", url=town.urls["general"].replace("127.0.0.1", "localhost"), canary_max_tokens=2)
    town.write()

    done = daemon.ctl("update")
    after = daemon.wait_target("general", verdict="ready", instance=before["instance"])

    assert done.stdout.splitlines()[0] == "general: updated process group"
    assert f'  url: "{town.urls["general"]}" -> "{daemon.liveness()["backends"][0]["url"]}"' in done.stdout
    assert "localhost" in daemon.backend("general")["url"]
    assert (after["held"]["message"], after["pid"]) == ("held by the operator: driver", before["pid"])
    assert "general: up → unknown" not in daemon.log()


def test_a_changed_command_holds_from_the_next_start_and_is_said_to(town: Town) -> None:
    daemon = town.daemon
    town.serve("general")
    town.comes_up("general")
    before = daemon.target("general")
    town.serve("general", "--no-slots")
    town.write()

    done = daemon.ctl("update")
    during = daemon.target("general")
    restarted = daemon.ctl("restart", "general")

    assert "  what runs goes on by its old command until it is restarted" in done.stdout.splitlines()
    assert (during["pid"], restarted.returncode) == (before["pid"], 0)
    assert "--no-slots" in psutil.Process(town.pid("general")).cmdline()


def test_what_was_fatal_by_its_settings_comes_up_by_better_ones(town: Town) -> None:
    daemon = town.daemon
    town.run("general", ["/no/such/llama-server"])
    town.comes_up()
    daemon.wait_target("general", state="FATAL", cause="bad command or flag")
    town.serve("general")
    town.write()

    done = daemon.ctl("update")

    assert done.stdout.splitlines()[0] == "general: updated process group"
    assert daemon.wait_target("general", verdict="ready", within_s=60.0)["routable"]


def test_what_takes_a_restart_is_named_and_the_rest_is_gone_by(town: Town) -> None:
    daemon = town.daemon
    town.serve("general")
    town.comes_up("general")
    port = daemon.port
    daemon.port += 1
    town.sections = f'token = "{TOKEN}"\n[recovery]\nrestarts_at_once = 3\n'
    town.write(mode="observe", valid_for_s=9.0, log_level="DEBUG")
    daemon.port = port

    done = daemon.ctl("update")

    assert done.returncode == 0
    assert f"  http.port: {port} -> {port + 1} (takes a restart of the daemon)" in done.stdout.splitlines()
    assert '  daemon.mode: "enforce" -> "observe"' in done.stdout.splitlines()
    assert TOKEN not in done.stdout + daemon.log()
    document = daemon.liveness()
    assert (document["mode"], document["valid_for_s"]) == ("observe", 9.0)
    town.until_log("DEBUG")
    again = daemon.ctl("reread").stdout.splitlines()
    assert again == [
        "No config updates to processes",
        f"  http.port: {port} -> {port + 1} (takes a restart of the daemon)",
    ]
    assert daemon.post("/v1/reload").status_code == 401
    assert daemon.post("/v1/reload", token=TOKEN).status_code == 200


def test_single_targets_are_added_and_removed_as_supervisorctl_does(town: Town) -> None:
    daemon = town.daemon
    town.serve("general")
    town.serve("code")
    town.comes_up("general", "code")
    town.forget("code")
    town.serve("math")
    town.serve("vision")
    town.write()

    said = [
        daemon.ctl(*words.split()) for words in ("add math", "add general", "add nobody", "remove code", "remove math")
    ]

    assert [each.stdout.splitlines()[0] for each in said] == [
        "math: added process group",
        "ERROR: process group already active",
        "ERROR: no such process/group: nobody",
        "code: removed process group",
        "ERROR: still in the settings file: math; take it out there first",
    ]
    assert [each.returncode for each in said] == [0, 0, 1, 0, 1]
    assert town.names == ["general", "math"]
    assert daemon.ctl("update", "nobody", "vision").stdout.splitlines() == [
        "ERROR: no such group: nobody",
        "vision: added process group",
    ]


def _check(town: Town) -> list[str]:
    return town.daemon.checked().stderr.splitlines()
