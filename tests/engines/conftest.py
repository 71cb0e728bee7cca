"""Benches for the engines under test, and a second Docker engine that may be stopped, killed and hung."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import docker
import pytest

from testbed.docker_proxy import DockerProxy
from testbed.engine import find
from testbed.systemd_host import SystemdHost, in_container, obstacle
from tests.cannot import cannot
from tests.engines.bench import Bench, DockerBench, ProcessBench
from tests.engines.docker_power import WHAT_TO_DO, little_power
from tests.engines.private_engine import PrivateEngine
from tests.engines.systemd_bench import SystemdBench

DOCKER, SYSTEMD = (pytest.param(name, marks=pytest.mark.engine) for name in ("docker", "systemd"))


@pytest.fixture(params=["process", DOCKER, SYSTEMD])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    """A bench for each engine, one after the other: what holds on it is the contract."""
    bench: ProcessBench | DockerBench | SystemdBench
    if request.param == "process":
        bench = ProcessBench(tmp_path)
    elif request.param == "systemd":
        bench = SystemdBench(request.getfixturevalue("systemd_host"))
    else:
        client, image = request.getfixturevalue("engine"), request.getfixturevalue("image")
        bench = DockerBench(client, image, request.getfixturevalue("allowed").host)
    yield bench
    await bench.close()


@pytest.fixture(scope="session")
def docker_proxy(engine_host: str) -> Iterator[DockerProxy]:
    """The engine with little power: what docs/security.md does not list is denied."""
    with little_power(engine_host) as proxy:
        yield proxy


@pytest.fixture
def allowed(docker_proxy: DockerProxy) -> Iterator[DockerProxy]:
    """That proxy, and after the test that nothing was denied."""
    before = len(docker_proxy.denied())
    yield docker_proxy
    assert docker_proxy.denied()[before:] == [], WHAT_TO_DO


@pytest.fixture
async def containers(engine: docker.DockerClient, image: str) -> AsyncIterator[DockerBench]:
    """A bench on the Docker engine."""
    bench = _docker_bench(engine, image)
    yield bench
    await bench.close()


@pytest.fixture
async def programs(tmp_path: Path) -> AsyncIterator[ProcessBench]:
    """A bench on this machine."""
    bench = ProcessBench(tmp_path)
    yield bench
    await bench.close()


@pytest.fixture(scope="session")
def systemd_host(engine: docker.DockerClient) -> Iterator[SystemdHost]:
    """A host that runs systemd; each test leaves it as it was."""
    if reason := obstacle():
        cannot(f"no systemd: {reason}")
    with in_container(engine) as host:
        yield host


@pytest.fixture
async def units(systemd_host: SystemdHost) -> AsyncIterator[SystemdBench]:
    """A bench on systemd."""
    bench = SystemdBench(systemd_host)
    yield bench
    await bench.close()


@pytest.fixture
async def private(dockerd: PrivateEngine) -> AsyncIterator[DockerBench]:
    """A bench on the engine of our own, with little patience; that engine runs again afterwards."""
    dockerd.revive()
    client = dockerd.client()
    bench = DockerBench(client, dockerd.image, dockerd.host, timeout_s=1.0, workers=4, ping_every_s=0.3)
    yield bench
    dockerd.revive()
    await bench.close()
    client.close()


def _docker_bench(engine: docker.DockerClient, image: str) -> DockerBench:
    host = find().host
    assert host is not None
    return DockerBench(engine, image, host)
