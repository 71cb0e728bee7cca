"""A real Prometheus, on the configuration of docs/prometheus.md, finds every target and scrapes those that it can."""

import contextlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from testbed.cache import REPOSITORY
from testbed.clients import LOOPBACK, free_port, wait_until
from testbed.debian import NotToBeHad, ensure_tool
from testbed.servers import ProcessServers
from testbed.supervisord import Supervisord
from tests.cannot import cannot

PAGE = REPOSITORY / "docs" / "prometheus.md"
ADDRESS = "http://127.0.0.1:8090"  # the daemon's on that page


@contextlib.contextmanager
def prometheus(folder: Path, configuration: str) -> Iterator[httpx.Client]:
    """Run one until the end of the block, and return a client for its API."""
    try:
        ensure_tool("prometheus", "prometheus")
    except NotToBeHad as problem:
        cannot(f"no Prometheus: {problem}")
    port = free_port()
    file = folder / "prometheus.yml"
    file.write_text(f"global: {{scrape_interval: 1s}}\n{configuration}")
    command = [
        "prometheus",
        f"--config.file={file}",
        f"--storage.tsdb.path={folder}/prometheus",
        f"--web.listen-address={LOOPBACK}:{port}",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://{LOOPBACK}:{port}", trust_env=False) as client:
            wait_until(lambda: is_ready(client), f"Prometheus is ready: {folder}/prometheus.log")
            yield client
    finally:
        server.terminate()
        server.wait(15.0)


def is_ready(client: httpx.Client) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return client.get("/-/ready").is_success
    return False


def targets(client: httpx.Client, kind: str) -> list[dict[str, Any]]:
    """Return the active or the dropped targets."""
    return list(client.get("/api/v1/targets").json()["data"][f"{kind}Targets"])


def has_counted(client: httpx.Client) -> bool:
    query = {"query": 'llamacpp:prompt_tokens_total{instance="planner"}'}
    return bool(client.get("/api/v1/query", params=query).json()["data"]["result"])


@pytest.fixture
def configuration() -> str:
    found = re.search(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def test_prometheus_finds_every_target_and_scrapes_the_model_servers(
    tmp_path: Path, model: Path, configuration: str
) -> None:
    with ProcessServers(tmp_path) as servers, Supervisord(tmp_path) as daemon:
        url = servers.run("planner", model, "--metrics")
        daemon.write_settings(
            f'[[backends]]\nname = "planner"\nurl = "{url}"\nmodels = ["planner", "research"]\nengine = "none"\n'
            f'[[routers]]\nname = "router"\nurl = "http://{LOOPBACK}:{free_port()}"\nengine = "none"\n'
        )
        daemon.start()
        daemon.wait_answers()
        daemon.wait_target("planner", verdict="ready")

        assert ADDRESS in configuration
        with prometheus(tmp_path, configuration.replace(ADDRESS, daemon.address)) as client:
            wait_until(lambda: [each["health"] for each in targets(client, "active")] == ["up"], "it is scraped")
            wait_until(lambda: has_counted(client), "its counters are there, under the name that it has here")
            (scraped,), (dropped,) = targets(client, "active"), targets(client, "dropped")

    assert scraped["scrapeUrl"] == f"{url}/metrics"
    assert scraped["labels"] == {"instance": "planner", "job": "model-servers", "models": ",planner,research,"}
    assert dropped["discoveredLabels"]["__meta_benchai_name"] == "router"
    assert dropped["discoveredLabels"]["__meta_benchai_kind"] == "router"
