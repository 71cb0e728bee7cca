"""What an operator does to a target that goes on running, with the real command line, daemon, engine and servers."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from testbed.clients import busy, wait_until
from tests.daemon.recovering import Ward

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(180)]
HASTY = "[policy]\nhung_after_s = 3.0\nclose_tick_s = 0.5\ntick_s = 1.0\n"
URLS: dict[str, str] = {}


@pytest.fixture(scope="module")
def ward(
    tmp_path_factory: pytest.TempPathFactory, model: Path, engine: docker.DockerClient, image: str
) -> Iterator[Ward]:
    with Ward(tmp_path_factory.mktemp("tending"), model, engine, image) as ward:
        for name in ("general", "code"):
            URLS[name] = f"http://127.0.0.1:{ward.add(name)}"
        ward.comes_up(sections=HASTY)
        yield ward


def told(ward: Ward, *words: str, code: int = 0) -> list[str]:
    """Run a command, and return what it printed."""
    done = ward.daemon.ctl(*words)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_whoever_is_served_finishes_while_routers_send_nobody_new_and_a_release_puts_it_back(ward: Ward) -> None:
    with busy(URLS["general"]) as user:
        user.wait_first_token()
        began = told(ward, "drain", "general", "-m", "new driver")
        entry = ward.daemon.backend("general")
        late = told(ward, "drain", "general", "-m", "new driver", "--wait", "1", code=1)
        waiting = subprocess.Popen(
            [sys.executable, "-m", "supervisor.cli", "--server", f"unix://{ward.daemon.socket}", "drain", "general",
             "--wait", "60"],
            stdout=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        read = user.received
        wait_until(lambda: user.received > read + 5, "the user goes on being served")
        is_waiting = waiting.poll() is None
        user.hang_up()
    drained, _ = waiting.communicate(timeout=60)
    status = ward.daemon.target("general")

    back = told(ward, "release", "general")

    assert began == ["general: drained until released (new driver); may still be serving somebody"]
    assert (entry["routable"], entry["weight"], entry["reason"]) == (False, 0, "Drained")
    assert entry["retry_after_s"] is None
    assert late[-1] == "general: ERROR (may still be serving somebody after 1 s; it stays drained)"
    assert (is_waiting, drained.splitlines()[-1]) == (True, "general: serves nobody any more")
    assert (status["state"], status["drained"]["serves_nobody"]) == ("RUNNING", True)
    assert back == ["general: released"]
    assert ward.daemon.backend("general")["routable"]


def test_what_is_drained_stays_so_over_our_own_end_and_a_start_puts_it_back(ward: Ward) -> None:
    told(ward, "drain", "code", "--for", "1h")
    ward.daemon.stop()
    ward.starts(wait=False)
    first = ward.daemon.backend("code")
    ward.daemon.wait_target("code", verdict="ready")
    then = ward.daemon.backend("code")

    started = told(ward, "start", "code")

    assert [each["reason"] for each in (first, then)] == ["Drained", "Drained"]
    assert 3500 < then["retry_after_s"] <= 3600
    assert started == ["code: started"]
    assert ward.daemon.backend("code")["routable"]


def test_one_that_hangs_while_it_is_drained_is_left_alone_until_it_is_released(ward: Ward) -> None:
    told(ward, "drain", "general")
    with ward.servers.freeze(ward.container("general")):
        ward.daemon.wait_target("general", verdict="hung")
        hung = ward.daemon.target("general")
        told(ward, "release", "general")
        ward.daemon.wait_target("general", verdict="ready", restarts=1)

    assert (hung["restarts"], hung["held"]["by"]) == (0, "Drained")
    assert "drained by the operator" in hung["summary"]


def test_what_ends_by_a_signal_is_started_again_at_once_and_counts_for_nothing(ward: Ward) -> None:
    before = ward.daemon.target("code")

    said = told(ward, "signal", "KILL", "code")
    ward.until(lambda: ward.daemon.target("code")["instance"] != before["instance"], "a new life")
    ward.daemon.wait_target("code", verdict="ready")

    assert said == ["code: signalled (if it ends, it is started again: stop keeps it down)"]
    assert ward.daemon.target("code")["restarts"] == before["restarts"]
    assert ward.incident("code")["cause"] == "signalled by the operator"


def test_one_that_is_told_to_stop_by_a_signal_is_hung_and_is_restarted(ward: Ward) -> None:
    before = ward.daemon.target("code")

    said = told(ward, "signal", "SIGSTOP", "code")
    ward.until(lambda: ward.daemon.target("code")["instance"] != before["instance"], "a new life")
    ward.daemon.wait_target("code", verdict="ready")

    assert "answers nobody: it is restarted as hung, unless SIGCONT comes first" in said[0]
    assert ward.daemon.target("code")["restarts"] == before["restarts"] + 1


def test_one_that_is_held_stays_as_a_signal_has_left_it(ward: Ward) -> None:
    told(ward, "hold", "code")
    said = told(ward, "signal", "TERM", "code")
    ward.daemon.wait_target("code", state="BACKOFF")
    down = ward.daemon.target("code")
    told(ward, "release", "code")
    ward.daemon.wait_target("code", verdict="ready")

    assert said == ["code: signalled (if it ends, it is held, and is not started again)"]
    assert down["summary"].startswith("down: ended by the operator's SIGTERM")
    assert down["held"]["by"] == "Held"


def test_what_does_not_run_is_sent_no_signal_and_has_no_pid(ward: Ward) -> None:
    told(ward, "stop", "--now", "code")
    refused = told(ward, "signal", "HUP", "code", code=1)
    pids = (told(ward, "pid", "code", code=1), told(ward, "pid", "general"))
    told(ward, "start", "code")

    assert "it does not run" in refused[0]
    assert pids[0] == ["0"]
    assert int(pids[1][0]) == ward.daemon.target("general")["pid"]


def test_a_log_is_followed_over_a_restart(ward: Ward) -> None:
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "supervisor.cli", "--server", f"unix://{ward.daemon.socket}",
         "tail", "-f", "-n", "3", "general"],
        stdout=subprocess.PIPE,
        text=True,
    ) as tail:  # fmt: skip
        assert tail.stdout is not None
        first = [tail.stdout.readline() for _ in range(3)]
        told(ward, "restart", "--now", "general")
        lines = iter(tail.stdout.readline, "")
        marked = next(line for line in lines if "started anew" in line)
        after = next(lines)
        tail.terminate()

    assert all(line.strip() for line in first)
    assert marked == "--- general was started anew ---\n"
    assert after


def test_a_log_is_for_nobody_who_may_only_read(ward: Ward) -> None:
    over_http = ward.daemon.get("/v1/targets/general/log")

    assert over_http.status_code == 403
    assert "general" not in over_http.json()["error"]["message"]


def test_a_probe_is_a_real_answer_and_of_one_at_work_it_says_why_not(ward: Ward) -> None:
    ward.daemon.wait_target("general", verdict="ready")
    idle = told(ward, "probe", "general", "code")
    with busy(URLS["general"]) as user:
        user.wait_first_token()
        ward.daemon.wait_target("general", verdict="busy")
        at_work = told(ward, "probe", "general")

    assert [line.partition(" (ready, first token ")[0] for line in idle] == ["general: ok", "code: ok"]
    assert at_work == [
        "general: ok (busy: not asked: every slot is at work, and a canary would only wait behind its users)"
    ]


def test_a_probe_of_one_that_hangs_is_no_success(ward: Ward) -> None:
    ward.daemon.wait_target("general", verdict="ready")
    told(ward, "hold", "general")
    with ward.servers.freeze(ward.container("general")):
        hung = told(ward, "probe", "--wait", "6", "general", code=1)
    told(ward, "release", "general")
    ward.daemon.wait_target("general", verdict="ready")

    assert hung[0].startswith("general: ERROR (")


def test_the_history_tells_all_of_it_in_order(ward: Ward) -> None:
    lines = told(ward, "history", "code", "--since", "1h")
    told_as_json = json.loads("\n".join(told(ward, "history", "code", "--limit", "500", "-f", "json")))["history"]

    whats = "\n".join(lines)
    assert "signal SIGKILL by the operator" in whats
    assert "restart by the supervisor" in whats
    assert [each["at"] for each in told_as_json] == sorted(each["at"] for each in told_as_json)
    assert {each["kind"] for each in told_as_json} == {"state", "act", "incident"}
