"""Two servers that share what only one may have: starting one makes the other go, and that is no failure of either."""

from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from tests.daemon.recovering import Ward

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(180)]
ALONE = 'gpu_group = "gpu0"\ngpu_exclusive = true\n'


@pytest.fixture
def ward(tmp_path: Path, model: Path, engine: docker.DockerClient, image: str) -> Iterator[Ward]:
    with Ward(tmp_path, model, engine, image) as ward:
        yield ward


def test_starting_one_of_an_exclusive_group_stops_the_other_and_back_again(ward: Ward) -> None:
    ward.add("code", settings=ALONE)
    ward.add("vision", settings=ALONE)
    ward.comes_up(wait=False)
    ward.daemon.wait_target("code", verdict="ready")
    ward.daemon.ctl("stop", "--now", "vision")

    # `code` runs on beside a stopped one; what starts the other makes room for it first.
    there = ward.daemon.ctl("start", "vision")
    swapped = (ward.daemon.target("code"), ward.daemon.target("vision"))
    back = ward.daemon.ctl("start", "code")
    again = (ward.daemon.target("code"), ward.daemon.target("vision"))

    assert (there.returncode, back.returncode) == (0, 0)
    assert there.stdout == "code: stopped\nvision: started\n"
    assert back.stdout == "vision: stopped\ncode: started\n"
    assert [each["state"] for each in swapped] == ["STOPPED", "RUNNING"]
    assert [each["state"] for each in again] == ["RUNNING", "STOPPED"]
    assert ward.daemon.get("/v1/incidents").json()["incidents"] == []
    assert [each["restarts"] for each in again] == [0, 0]
