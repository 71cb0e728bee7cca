"""The token and the socket: whoever has one or may open the other changes things, and nobody learns the one from us."""

import contextlib
import stat
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from supervisor.cli.http import Daemon, DaemonRefused
from testbed.supervisord import Supervisord
from tests.publish.running import TOKEN, running

STOP = "/v1/targets/planner/stop?wait_s=0"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Iterator[Supervisord]:
    """A daemon that logs all it can."""
    with running(tmp_path_factory.mktemp("token"), model, log_level="TRACE") as daemon:
        yield daemon


def asked(daemon: Supervisord, path: str = STOP, *, authorization: str = "", body: bytes = b"") -> httpx.Response:
    """Ask over the port for something to be changed."""
    headers = {"Authorization": authorization} if authorization else {}
    return httpx.post(f"{daemon.address}{path}", headers=headers, content=body, trust_env=False, timeout=10)


def test_over_the_port_the_token_opens_and_nothing_else_does(daemon: Supervisord) -> None:
    answers = [asked(daemon, authorization=each) for each in ("", "Bearer wrong", f"Bearer {TOKEN}")]

    assert [each.status_code for each in answers] == [401, 401, 200]
    assert [each.headers.get("www-authenticate") for each in answers] == ["Bearer", "Bearer", None]


def test_whoever_may_open_the_socket_needs_no_token_and_who_may_is_the_file_systems_word(daemon: Supervisord) -> None:
    held = daemon.ctl("hold", "planner")
    released = daemon.ctl("release", "planner")

    assert (held.returncode, released.returncode) == (0, 0), held.stderr + released.stderr
    assert stat.S_IMODE(daemon.socket.stat().st_mode) == 0o660


def test_the_command_line_brings_the_token_and_says_what_is_wrong_without(daemon: Supervisord) -> None:
    known, unknown = Daemon(daemon.address, token=TOKEN), Daemon(daemon.address)

    until = known.hold("planner", for_s=60, why="").content["until"]
    with pytest.raises(DaemonRefused, match="token is missing or wrong") as refusal:
        unknown.release("planner")

    assert until is not None
    assert refusal.value.code == "Unauthorized"


def test_the_token_is_in_no_log_and_no_answer_whatever_is_logged_and_whatever_goes_wrong(daemon: Supervisord) -> None:
    right, almost = f"Bearer {TOKEN}", f"Bearer {TOKEN[:-1]}"
    answers = [
        asked(daemon, authorization=right),
        asked(daemon, authorization=almost),
        asked(daemon, authorization=f"Basic {TOKEN}"),
        asked(daemon, f"/v1/targets/{TOKEN}", authorization=right),
        asked(daemon, "/v1/observations", authorization=right, body=b'{"backend": "planner", "ok": false}'),
        asked(daemon, "/v1/observations", authorization=right, body=b"{"),
        asked(daemon, "/v1/pause?for_s=0.1", authorization=right),
        httpx.request("NONSENSE", f"{daemon.address}/v1/pause", headers={"Authorization": right}, trust_env=False),
        daemon.get("/v1/status"),
        daemon.get("/openapi.json"),
    ]
    with httpx.Client(trust_env=False) as client, contextlib.suppress(httpx.HTTPError):
        client.post(f"{daemon.address}/v1/pause", headers={"Authorization": right, "X-Long": "x" * 40_000})
    daemon.wait_target("planner", verdict="ready")
    daemon.stop()

    told = daemon.log() + "".join(f"{each.headers}{each.text}" for each in answers)
    assert "TRACE" in daemon.settings_file.read_text()
    assert "Invalid HTTP request" in told
    assert TOKEN[:-1] not in told
    assert [path for path in daemon.folder.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()] == [
        daemon.settings_file
    ]


def test_off_loopback_without_a_token_it_does_not_start(tmp_path: Path) -> None:
    with Supervisord(tmp_path) as daemon:
        daemon.write_settings(
            'host = "0.0.0.0"\n[[backends]]\nname = "a"\nurl = "http://127.0.0.1:9"\nmodels = ["a"]\n'
        )
        daemon.start()
        code = daemon.wait_end(within_s=20)

    assert code == 2
    assert 'http.host = "0.0.0.0": reaches beyond this machine, so http.token must be set' in daemon.log()
