"""The daemon is killed at every step of a restart: nothing is done twice for it, and nothing people said is lost."""

import time
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from tests.daemon.recovering import Ward

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
# From the death of a server on: routers are told, it is written down, looked into, done, and written down as done. All
# of it takes about a third of a second here; the last is long after.
AFTER_S = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.6)
# So that no earlier round is held against the next one.
FORGIVING = "[policy]\nbackoff_first_s = 0.1\nbackoff_max_s = 0.1\nbudget_restarts = 100\n"


@pytest.fixture
def ward(tmp_path: Path, model: Path, engine: docker.DockerClient, image: str) -> Iterator[Ward]:
    with Ward(tmp_path, model, engine, image) as ward:
        ward.add("general", pid_mode="host")
        ward.add("held")
        ward.comes_up(sections=FORGIVING)
        yield ward


def starts(engine: docker.DockerClient, container: str, *, since: float) -> int:
    """Return how often the engine has started a container since a moment."""
    wanted = {"container": container, "event": "start", "type": "container"}
    # The engine takes fractions of a second; the SDK's stubs do not know.
    until, after = str(time.time()), str(since)
    return len(list(engine.events(since=after, until=until, filters=wanted)))  # type: ignore[call-overload]


def test_a_daemon_that_dies_at_any_step_of_a_restart_neither_repeats_nor_forgets_it(
    ward: Ward, engine: docker.DockerClient
) -> None:
    ward.daemon.ctl("hold", "held", "-m", "mine")
    told = {}
    for after_s in AFTER_S:
        began = time.time()
        ward.kill("general")
        time.sleep(after_s)
        ward.daemon.kill()
        ward.starts()
        time.sleep(0.5)  # a second restart would come at once
        told[after_s] = starts(engine, ward.container("general"), since=began)

    held = ward.daemon.target("held")
    assert told == dict.fromkeys(AFTER_S, 1)
    assert held["held"]["message"] == "held by the operator: mine"
    assert held["restarts"] == 0
    assert [each for each in ward.incidents("general") if each["closed_at"] is None] == []
