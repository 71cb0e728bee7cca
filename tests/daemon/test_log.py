"""The whole log of a daemon that lived through a trouble: one id leads through it, and no secret is in it."""

import json
import os
import shutil
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from testbed.clients import LOOPBACK, chat_body, free_port, wait_until
from testbed.process_servers import server_command
from testbed.supervisord import Supervisord, toml

TOKEN, KEY, PASSWORD = "our-Own-token-of-7", "the-servers-Key-of-8", "in-the-Environment-9"
PROMPT = "the secret ingredient is cardamom"


@dataclass(frozen=True, slots=True)
class Trouble:
    """What was told of one trouble, wherever one may ask."""

    daemon: Supervisord
    while_open: dict[str, Any]
    why: dict[str, Any]
    incident: str
    lines: list[dict[str, Any]]


def asked(url: str, body: dict[str, Any]) -> int:
    """Ask the server as one of its users does."""
    headers = {"Authorization": f"Bearer {KEY}"}
    return httpx.post(
        f"{url}/v1/chat/completions", json=body, headers=headers, timeout=30.0, trust_env=False
    ).status_code


@pytest.fixture(scope="module")
def trouble(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Iterator[Trouble]:
    """A server with a key, and with users, loses its model and dies; it gets the model back, and is well again."""
    folder = tmp_path_factory.mktemp("log")
    own, port = folder / "model.gguf", free_port()
    shutil.copyfile(model, own)
    command = server_command(own, port, "-np", "1", "--api-key", KEY)
    url = f"http://{LOOPBACK}:{port}"
    with Supervisord(folder, log_level="TRACE") as daemon:
        daemon.write_settings(
            f'token = "{TOKEN}"\n[process]\nstop_on_exit = true\n[policy]\nbackoff_first_s = 0.5\n'
            f'[[backends]]\nname = "general"\nurl = "{url}"\nmodels = ["general"]\napi_key = "{KEY}"\n'
            f'engine = "process"\ncommand = {toml(command)}\nenvironment = {{ HUB_TOKEN = "{PASSWORD}" }}\n',
            log_format="json",
        )
        daemon.start()
        daemon.wait_answers()
        up = daemon.wait_target("general", verdict="ready")
        assert asked(url, chat_body(PROMPT)) == 200
        assert asked(url, chat_body(PROMPT, response_format={"type": PROMPT})) >= 400
        own.rename(own.with_suffix(".away"))
        os.kill(up["pid"], signal.SIGKILL)
        while_open = daemon.wait_target("general", phase="failed")
        why = daemon.get("/v1/targets/general/why").json()
        report(daemon)
        own.with_suffix(".away").rename(own)
        daemon.wait_target("general", verdict="ready", incident=None)
        ended = f"incident {while_open['incident']} is over"
        wait_until(lambda: ended in daemon.log(), "the end of the trouble is told")
        lines = [json.loads(line) for line in daemon.log().splitlines()]
        yield Trouble(daemon, while_open, why, str(while_open["incident"]), lines)


def report(daemon: Supervisord) -> None:
    """Report failures in a router's words, one without the token; and send what is no HTTP."""
    said = {"backend": "general", "ok": False, "error": f"401 for Authorization: Bearer {KEY}"}
    for token in (TOKEN, f"{TOKEN}x"):
        headers = {"Authorization": f"Bearer {token}"}
        httpx.post(f"{daemon.address}/v1/observations", json=said, headers=headers, trust_env=False)
    with socket.create_connection((LOOPBACK, daemon.port)) as nonsense:
        nonsense.sendall(f"{PROMPT} {TOKEN}\r\nX: {KEY}\r\n\r\n".encode())
        assert b"400" in nonsense.recv(4096)


def events(daemon: Supervisord, kind: str) -> list[dict[str, Any]]:
    """Return every event of a kind that the daemon still knows."""
    told: list[dict[str, Any]] = []
    headers = {"Last-Event-ID": f"{daemon.liveness()['epoch']}.1"}
    with httpx.stream("GET", f"{daemon.address}/v1/events", headers=headers, timeout=5.0, trust_env=False) as stream:
        present = ""
        for line in stream.iter_lines():
            present = line.removeprefix("event: ") if line.startswith("event: ") else present
            if present == "fresh":  # that comes once everything that was missed has been told
                return told
            if line.startswith("data: ") and present == kind:
                told.append(json.loads(line.removeprefix("data: ")))
    return told


def test_one_id_follows_an_incident_through_log_status_why_history_events_and_incidents(trouble: Trouble) -> None:
    daemon, incident = trouble.daemon, trouble.incident
    steps = [("failed" in (each["before"], each["after"]), each["incident"]) for each in events(daemon, "transition")]
    history = daemon.get("/v1/history?target=general").json()["transitions"]

    assert incident.endswith("-general")
    assert (trouble.while_open["incident"], trouble.why["incident"]) == (incident, incident)
    assert {name for is_in_it, name in steps if is_in_it} == {incident}
    assert {each["incident"] for each in history if "failed" in (each["before"], each["after"])} == {incident}
    assert next(each["incident"] for each in history if each["after"] == "up") == incident
    assert daemon.get("/v1/incidents?target=general").json()["incidents"][0]["id"] == incident
    assert daemon.get(f"/v1/incidents/{incident}").json()["evidence"]


def test_the_command_line_knows_it_by_the_same_id(trouble: Trouble) -> None:
    said = [
        trouble.daemon.ctl("incident", "list").stdout,
        trouble.daemon.ctl("incident", "show", trouble.incident).stdout,
        trouble.daemon.ctl("why", "general").stdout,
    ]

    assert [trouble.incident in each for each in said] == [True, True, True]


def test_a_search_for_the_id_brings_the_whole_trouble_in_order(trouble: Trouble) -> None:
    told = [each for each in trouble.lines if each.get("incident") == trouble.incident]
    steps = [(each["before"], each["after"]) for each in told if "before" in each]
    words = [each["message"] for each in told]

    assert {each["target"] for each in told} == {"general"}
    assert words[0] == f"general: incident {trouble.incident} begins"
    assert any("model missing" in each for each in words)
    assert any(" took " in each for each in words)
    assert any(each.startswith(f"general: incident {trouble.incident} is over after") for each in words)
    assert steps[-1][1] in ("up", "busy")
    assert all(before == after for (_, after), (before, _) in pairwise(steps))


def test_every_change_of_phase_is_one_line_with_its_reason(trouble: Trouble) -> None:
    steps = [each for each in trouble.lines if "before" in each]
    history = trouble.daemon.get("/v1/history?target=general&limit=200").json()["transitions"]

    assert [(each["before"], each["after"], each["reason"]) for each in steps] == [
        (each["before"], each["after"], each["reason"]) for each in reversed(history)
    ]
    assert all({"time", "level", "message", "target", "verdict"} <= each.keys() for each in steps)


@pytest.mark.parametrize("secret", [TOKEN, KEY, PASSWORD, PROMPT, "cardamom"])
def test_no_secret_and_no_users_words_are_in_the_log_of_a_daemon_that_tells_all_it_can(
    trouble: Trouble, secret: str
) -> None:
    assert "TRACE" in trouble.daemon.settings_file.read_text()
    assert len(trouble.lines) > 10
    assert secret not in trouble.daemon.log()


def test_what_libraries_say_comes_in_the_same_form(trouble: Trouble) -> None:
    theirs = [each for each in trouble.lines if each.get("library") == "uvicorn.error"]

    assert [each["message"] for each in theirs] == ["uvicorn.error: Invalid HTTP request received."] * len(theirs)
    assert theirs
