"""Recovery on real containers: what helps is done, what does not is not repeated, and people always win."""

import socket
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import docker
import pytest

from testbed.clients import LOOPBACK, busy, chat
from tests.daemon.recovering import Ward

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
WATCHED_S = 12.0  # longer than a hang lasts before it is restarted
HASTY = "[policy]\nbackoff_first_s = 1.0\nbudget_restarts = 2\nfatal_retry_s = 6.0\n"


@pytest.fixture
def ward(tmp_path: Path, model: Path, engine: docker.DockerClient, image: str) -> Iterator[Ward]:
    with Ward(tmp_path, model, engine, image) as ward:
        yield ward


def taken(port: int) -> socket.socket:
    """Listen on a port, as soon as the engine has let go of it."""
    until = time.monotonic() + 10.0
    while True:
        try:
            return socket.create_server((LOOPBACK, port))
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def test_a_model_that_is_gone_is_no_reason_for_a_restart_and_its_return_is(ward: Ward) -> None:
    ward.add("general")
    ward.comes_up()
    ward.model("general").unlink()
    ward.kill("general")
    # Killed, it is worth one restart; that one finds no model.
    failed = ward.daemon.wait_target("general", state="FATAL", cause="model missing", within_s=60.0)

    time.sleep(WATCHED_S)
    restarts = ward.daemon.target("general")["restarts"]
    ward.give_model("general")
    ward.daemon.wait_target("general", verdict="ready", within_s=60.0)

    assert "the model file does not exist: /models/model.gguf" in failed["summary"]
    assert restarts == failed["restarts"] == 1
    (incident,) = ward.incidents("general")
    assert (incident["cause"], incident["closed_at"] is not None) == ("model missing", True)
    assert incident["cure"].startswith("put the file there")


def test_a_bad_flag_is_told_with_its_cure_and_not_tried_again(ward: Ward) -> None:
    ward.add("general", "--no-such-flag", ready=False)
    ward.comes_up(wait=False)

    failed = ward.daemon.wait_target("general", state="FATAL", cause="bad command or flag", within_s=60.0)
    told = ward.daemon.ctl("why", "general").stdout

    assert failed["restarts"] == 0
    assert "--no-such-flag" in failed["summary"]
    assert "A restart would not help" in " ".join(told.split())


def test_a_port_that_somebody_took_is_waited_for(ward: Ward) -> None:
    port = ward.add("general")
    ward.comes_up()
    ward.daemon.ctl("hold", "general")  # so that the port can be taken before it is restarted
    ward.kill("general")
    ward.daemon.wait_target("general", state="BACKOFF")
    with taken(port):
        ward.daemon.ctl("release", "general")
        failed = ward.daemon.wait_target("general", state="FATAL", cause="port taken", within_s=30.0)

    ward.daemon.wait_target("general", verdict="ready", within_s=60.0)

    assert f"{LOOPBACK}:{port} is taken" in failed["summary"]


def test_a_crash_loop_ends_in_fatal_and_fatal_ends_with_its_cause(ward: Ward) -> None:
    ward.add("general", pid_mode="host")
    ward.comes_up(sections=HASTY)

    for _ in range(3):
        ward.kill("general")
        ward.daemon.wait_target("general", routable=False)
        if ward.daemon.target("general")["state"] == "FATAL":
            break
        ward.until(
            lambda: (
                ward.daemon.target("general")["verdict"] == "ready" or ward.daemon.target("general")["state"] == "FATAL"
            ),
            "up again, or given up",
        )
    fatal = ward.daemon.wait_target("general", state="FATAL")

    back = ward.daemon.wait_target("general", verdict="ready", within_s=60.0)

    assert fatal["restarts"] == 2
    assert back["restarts"] == 3
    assert all(each["cause"] == "killed from outside" for each in ward.incidents("general"))


def test_too_little_memory_is_told_as_that(ward: Ward) -> None:
    ward.add("general", "-c", "65536", ready=False, memory="16m")
    ward.comes_up(sections=HASTY, wait=False)

    fatal = ward.daemon.wait_target("general", state="FATAL", cause="out of memory", within_s=60.0)

    assert fatal["restarts"] == 2
    assert "memory limit" in ward.incident("general")["cure"]


def test_before_a_hung_server_is_killed_its_evidence_is_kept(ward: Ward) -> None:
    ward.add("general")
    ward.comes_up()
    with ward.servers.freeze(ward.container("general")):
        ward.until(lambda: bool(ward.incidents("general")), "an incident")
        ward.daemon.wait_target("general", verdict="ready", within_s=60.0)

    incident = ward.incident("general")
    shown = ward.daemon.ctl("incident", "show", "general").stdout
    simulated = ward.daemon.ctl("simulate", "general", "--set", "hung_after_s=20", "-f", "json")
    (evidence,) = incident["evidence"]
    (member,) = incident["members"]

    assert (incident["cause"], member["ending"]) == ("hung", "our restart")
    assert {each["witness"] for each in evidence["statements"]} >= {"engine", "progress", "cpu"}
    assert evidence["engine"]["name" if "name" in evidence["engine"] else "image"]
    assert any("llama" in str(process) or "python" in str(process) for process in evidence["processes"])
    assert "slot" in evidence["log"]
    assert simulated.returncode == 0
    assert "hung_after_s" in simulated.stdout
    assert "Our restart brought it back" in " ".join(shown.split())


def test_what_is_held_is_left_hung_over_a_restart_of_ours_until_it_is_released(ward: Ward) -> None:
    ward.add("general")
    ward.comes_up(sections="[policy]\nstartup_limit_s = 5.0\n")  # or the next daemon might take it for a young one
    held = ward.daemon.ctl("hold", "general", "-m", "new driver")
    before = ward.daemon.target("general")["instance"]
    with ward.servers.freeze(ward.container("general")):
        ward.daemon.wait_target("general", verdict="hung", routable=False, within_s=30.0)
        ward.daemon.kill()
        ward.starts(wait=False)
        waiting = ward.daemon.wait_target("general", state="BACKOFF", within_s=60.0)
        time.sleep(3.0)
        untouched = ward.daemon.target("general")["instance"]
        ward.daemon.ctl("release", "general")
        ward.daemon.wait_target("general", verdict="ready", within_s=60.0)

    assert held.returncode == 0
    assert "held by the operator: new driver" in waiting["summary"]
    assert untouched == before
    assert ward.daemon.target("general")["instance"] != before


def test_in_a_maintenance_window_what_dies_is_told_and_left_alone(ward: Ward) -> None:
    ward.add("general")
    now = datetime.now().astimezone()
    begins, ends = (f"{now + timedelta(hours=hours):%H:%M}" for hours in (-1, 1))
    window = f'[[maintenance]]\nbegins = "{begins}"\nends = "{ends}"\nwhy = "backup"\n'
    ward.comes_up(sections=window)
    before = ward.daemon.target("general")["summary"]

    ward.kill("general")
    dead = ward.daemon.wait_target("general", state="BACKOFF", routable=False)
    time.sleep(3.0)

    assert "in maintenance: backup" in before
    assert "in maintenance: backup" in dead["summary"]
    assert ward.daemon.target("general")["restarts"] == 0
    assert ward.servers.pid(ward.container("general")) is None


def test_what_a_person_paused_is_not_let_go_on(ward: Ward) -> None:
    ward.add("general")
    ward.comes_up()

    ward.servers.pause(ward.container("general"))
    paused = ward.daemon.wait_target("general", state="STOPPED", routable=False)
    time.sleep(WATCHED_S)
    still = ward.daemon.target("general")
    ward.servers.resume(ward.container("general"))
    ward.daemon.wait_target("general", verdict="ready")

    assert (paused["reason"], still["reason"]) == ("Paused", "Paused")
    assert ward.incidents("general") == []


def test_observing_a_hung_server_is_left_and_what_would_have_been_done_is_written_down(ward: Ward) -> None:
    ward.add("general")
    ward.comes_up(mode="observe")
    before = ward.daemon.target("general")["instance"]
    with ward.servers.freeze(ward.container("general")):
        ward.daemon.wait_target("general", verdict="hung", routable=False, within_s=30.0)
        time.sleep(3.0)
    ward.daemon.wait_target("general", verdict="ready", within_s=60.0)

    (incident,) = ward.incidents("general")
    (member,) = incident["members"]
    assert ward.daemon.target("general")["instance"] == before
    assert ward.daemon.liveness()["mode"] == "observe"
    assert (member["would_act_at"] is not None, member["acted_at"]) == (True, [])
    assert (member["ending"], member["was_right_to_wait"]) == ("by itself", True)


def test_several_that_fall_at_once_are_one_incident_and_are_restarted_one_after_the_other(ward: Ward) -> None:
    names = ("general", "planner", "code")
    for name in names:
        ward.add(name, pid_mode="host")
    ward.comes_up(sections="[recovery]\nshared_freeze_s = 5.0\n")

    for name in names:
        ward.kill(name)
    frozen = ward.daemon.wait_target("code", state="BACKOFF")
    ward.until(lambda: all(ward.daemon.target(name)["verdict"] == "ready" for name in names), "all back")

    assert "failed at once" in frozen["summary"]
    assert len({ward.incidents(name)[0]["id"] for name in names}) == 1
    assert set(ward.incidents("general")[0]["targets"]) == set(names)
    assert [ward.daemon.target(name)["restarts"] for name in names] == [1, 1, 1]


def test_a_stand_in_serves_the_alias_while_the_first_choice_cannot(ward: Ward) -> None:
    ward.add("general")
    ward.add("general-cpu", settings='stands_in_for = "general"\n')
    ward.servers.container(ward.container("general-cpu")).stop(timeout=1)
    ward.comes_up(sections="[policy]\nreturn_after_s = 4.0\n", wait=False)
    ward.daemon.wait_target("general", verdict="ready")
    at_rest = ward.daemon.wait_target("general-cpu", state="STOPPED")

    ward.model("general").unlink()
    ward.kill("general")
    ward.daemon.wait_target("general", state="FATAL", within_s=60.0)
    ward.daemon.wait_target("general-cpu", verdict="ready", within_s=60.0)
    meanwhile = ward.daemon.liveness()
    ward.give_model("general")
    ward.daemon.wait_target("general", verdict="ready", within_s=60.0)
    ward.daemon.wait_target("general-cpu", state="STOPPED", within_s=60.0)

    assert at_rest["summary"] == "stands by for general"
    assert meanwhile["models"] == {"general": ["general", "general-cpu"]}
    assert {each["name"]: each["routable"] for each in meanwhile["backends"]} == {"general": False, "general-cpu": True}


def test_a_restart_by_hand_lets_an_answer_under_way_come_to_its_end(ward: Ward) -> None:
    port = ward.add("general", cpus=0.2)
    ward.comes_up()
    url = f"http://{LOOPBACK}:{port}"
    before = ward.daemon.target("general")["instance"]
    with busy(url, tokens=600) as working:
        working.wait_first_token()
        done = ward.daemon.ctl("restart", "general")

    after = ward.daemon.target("general")
    assert (working.ended, working.problem) == (True, None)
    assert done.stdout.splitlines() == ["general: stopped", "general: started"]
    assert after["instance"] != before
    assert chat(url) != ""


def test_a_container_that_is_cut_off_from_its_network_is_told_and_not_restarted(
    ward: Ward, engine: docker.DockerClient
) -> None:
    network = engine.networks.create(ward.container("net"))
    try:
        ward.add("general", network=network.name)
        ward.comes_up()
        before = ward.daemon.target("general")["instance"]

        network.disconnect(ward.container("general"))
        failed = ward.daemon.wait_target("general", state="FATAL", cause="network detached", within_s=60.0)
        network.connect(ward.container("general"))
        back = ward.daemon.wait_target("general", verdict="ready", within_s=60.0)

        assert failed["restarts"] == 0
        assert failed["instance"] in (None, before)
        assert back["routable"]
    finally:
        ward.leave()
        network.remove()


def test_a_crash_loop_of_the_engines_making_is_told_with_its_cause_and_ends_with_it(ward: Ward) -> None:
    ward.add("general", ready=False, has_model=False, restart_policy={"Name": "unless-stopped"})
    ward.comes_up(wait=False)

    failed = ward.daemon.wait_target("general", state="FATAL", cause="model missing", within_s=90.0)
    ward.give_model("general")
    back = ward.daemon.wait_target("general", verdict="ready", within_s=90.0)

    assert failed["restarts"] == 0  # it was its engine that tried
    assert back["routable"]


def test_one_that_dies_at_once_again_and_again_is_given_up_and_not_left_to_somebody_else(ward: Ward) -> None:
    ward.add("general", pid_mode="host")
    ward.comes_up(sections=HASTY)
    ward.model("general").write_bytes(b"")  # every later life ends within milliseconds
    ward.kill("general")

    failed = ward.daemon.wait_target("general", state="FATAL", within_s=60.0)

    assert "AlreadyRestarted" not in ward.daemon.log()
    assert failed["cause"] == "model unusable"


def test_an_image_that_was_removed_keeps_no_container_of_it_from_being_restarted(
    tmp_path: Path, model: Path, engine: docker.DockerClient, image: str
) -> None:
    name = f"benchai-testbed/removed:{tmp_path.name[-40:]}"
    made = engine.containers.create(image)
    try:
        own = made.commit(*name.split(":"))  # an image of its own: its removal must not be felt by other tests
    finally:
        made.remove()
    with Ward(tmp_path, model, engine, name) as ward:
        ward.add("general")
        ward.comes_up()
        ward.daemon.ctl("hold", "general")
        ward.kill("general")
        ward.daemon.wait_target("general", state="BACKOFF")
        engine.images.remove(name, force=True)

        ward.daemon.ctl("release", "general")

        ward.daemon.wait_target("general", verdict="ready", restarts=1, within_s=60.0)
        with pytest.raises(docker.errors.ImageNotFound):
            engine.images.get(str(own.id))
