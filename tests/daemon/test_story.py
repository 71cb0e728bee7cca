"""The main job, end to end, on real llama.cpp servers: hung, killed and busy, with a router in front."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from examples.clients import ASK, WITHIN_S, Clients
from testbed import tiny_model
from testbed.clients import busy, chat, wait_until
from testbed.engine import find
from testbed.stack import MODELS, Plan, Stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(params=["process", pytest.param("docker", marks=pytest.mark.engine)])
def stack(request: pytest.FixtureRequest, tmp_path: Path, model: Path) -> Iterator[Stack]:
    """Four servers, the daemon, the router; on every engine. One of the servers is slow enough to be busy for long."""
    if request.param == "docker":
        request.getfixturevalue("engine")
    client = find().client() if request.param == "docker" else None
    slow = tiny_model.ensure(shape=tiny_model.SLOW)
    plan = Plan(prefix=f"story-{tmp_path.name[-12:]}-", models={"planner": slow})
    try:
        with Stack(tmp_path, model, plan, client=client) as stack:
            yield stack.start_all()
    finally:
        if client:
            client.close()


def test_a_hung_and_a_killed_server_are_routed_around_and_restarted_and_a_busy_one_is_left_alone(stack: Stack) -> None:
    instances = stack.instances()

    with Clients(stack.router_url) as clients, busy(stack.url("planner")) as working:
        working.wait_first_token()
        with stack.freeze("general"):
            assert httpx.get(f"{stack.url('general')}/health", timeout=5.0, trust_env=False).is_success
            stack.wait_target("general", verdict="suspect", routable=False, within_s=10.0)
            assert stack.backend("general")["routable"] is False
            back = stack.wait_target("general", verdict="ready", routable=True, within_s=60.0)
        assert back["instance"] != instances["general"]
        assert chat(stack.url("general")) != ""

        stack.kill_server("code")
        stack.wait_target("code", routable=False, within_s=10.0)
        stack.wait_target("code", verdict="ready", routable=True, within_s=60.0)

        # By now it has been busy with one answer for longer than any probe would have waited.
        assert stack.target("planner")["verdict"] == "busy"
        received = working.received
        wait_until(lambda: working.received > received, "the long answer goes on")
        assert working.problem is None

    after = stack.instances()
    assert {name for name in MODELS if after[name] != instances[name]} == {"general", "code"}
    assert clients.sent > 20
    assert (clients.hung, clients.wrong, clients.complaints) == (0, 0, [])
    # A fault may meet an answer in its midst; whoever waits for the rest is told.
    assert clients.cut <= 2


def test_an_alias_without_another_backend_is_refused_at_once_while_its_server_hangs(stack: Stack) -> None:
    with stack.freeze("vision", mid_answer=True):
        stack.wait_target("vision", routable=False, within_s=15.0)

        for stream in (False, True):
            asked = {**ASK, "model": "vision", "stream": stream}
            began = time.monotonic()
            answer = httpx.post(
                f"{stack.router_url}/v1/chat/completions", json=asked, timeout=WITHIN_S, trust_env=False
            )
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) >= 1
            assert "vision" in json.dumps(answer.json()["error"])
            assert time.monotonic() - began < WITHIN_S
