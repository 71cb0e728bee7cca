"""Fixtures on real parts, shared by all tests, and the closing words about what did not run."""

import os
import time
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path

import docker
import pytest

from testbed import tiny_model
from testbed.engine import find
from testbed.image import ensure_image
from testbed.servers import ContainerServers, ProcessServers
from tests.cannot import cannot
from tests.engines.private_engine import PrivateEngine, obstacle


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    """A real Docker engine. In CI a missing one fails; elsewhere its tests are skipped, and the last lines say so."""
    found = find()
    if found.host is None:
        cannot(f"no Docker engine: {os.environ.get('TESTBED_ENGINE_REASON') or found.reason}")
    client = found.client()
    yield client
    client.close()


@pytest.fixture(scope="session")
def engine_host(engine: docker.DockerClient) -> str:
    """That engine's address."""
    host = find().host
    assert host is not None, f"{engine.api.base_url} does not answer any more"
    return host


@pytest.fixture(scope="session")
def image(engine: docker.DockerClient) -> str:
    """The tag of the model server's image."""
    return ensure_image(engine)


@pytest.fixture(scope="session")
def dockerd(
    engine: docker.DockerClient, image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PrivateEngine]:
    """A Docker engine of our own beside the one that others use. It needs root and the `dockerd` program."""
    if reason := obstacle():
        cannot(f"no second Docker engine: {reason}")
    with PrivateEngine(tmp_path_factory.mktemp("dockerd")) as private:
        private.take_image(engine, image)
        yield private


@pytest.fixture(scope="session")
def model() -> Path:
    """A tiny model that answers with words and never ends by itself."""
    return tiny_model.ensure()


@pytest.fixture
def servers(engine: docker.DockerClient, image: str) -> Iterator[ContainerServers]:
    """Model servers in containers, removed afterwards."""
    with ContainerServers(engine, image) as servers:
        yield servers


@pytest.fixture
def process_servers(tmp_path: Path) -> Iterator[ProcessServers]:
    """Model servers as child processes, ended afterwards."""
    with ProcessServers(tmp_path) as servers:
        yield servers


@pytest.fixture
def in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Live where local time is UTC."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs an engine by what it asks for, so that nobody has to remember to."""
    for item in items:
        if "engine" in getattr(item, "fixturenames", ()):
            item.add_marker("engine")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Generator[None]:
    """Say in the last lines, below pytest's own summary, what did not run and why."""
    yield
    reasons = Counter(_reason(report) for report in terminalreporter.stats.get("skipped", []))
    for reason, count in reasons.items():
        terminalreporter.write_line(f"did not run: {count} {'test' if count == 1 else 'tests'}, {reason}")


def _reason(report: pytest.TestReport) -> str:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return reason.removeprefix("Skipped: ")
