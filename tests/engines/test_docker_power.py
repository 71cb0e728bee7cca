"""The proxy before Docker lets through what the supervisor asks, and nothing else: the list, and what is not on it."""

import ast
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from docker import APIClient

from supervisor.engines.docker import DockerEngine
from supervisor.errors import EngineRefused, EngineUnreachable
from supervisor.settings import DockerSettings
from supervisor.settings_labels import PREFIX
from testbed.cache import REPOSITORY
from testbed.clients import LOOPBACK, free_port
from testbed.docker_proxy import CONFIGURATION, DockerProxy
from testbed.systemd_host import SystemdHost
from tests.engines.bench import IGNORES, OBEYS, TIMEOUT_S, DockerBench, start, watching
from tests.engines.docker_power import WHAT_TO_DO, little_power, table
from tests.engines.fake_docker import FakeDocker

SOURCES = sorted(path for path in (REPOSITORY / "supervisor").rglob("*.py") if "docker import" in path.read_text())
UNIT = CONFIGURATION.parent / "benchai-docker-proxy.service"
ID = "4f1e" * 16
LABELLED = "filters=%7B%22label%22%3A+%5B%22benchai.supervisor.enable%22%5D%7D"
FORBIDDEN = [
    "POST /v1.41/containers/create",
    "POST /v1.41/containers/general/exec",
    f"POST /v1.41/exec/{ID}/start",
    "POST /v1.41/containers/general/attach",
    "GET /v1.41/containers/general/attach/ws",
    "GET /v1.41/containers/general/archive?path=/etc/shadow",
    "PUT /v1.41/containers/general/archive?path=/",
    "GET /v1.41/containers/general/export",
    "GET /v1.41/containers/general/changes",
    "POST /v1.41/containers/general/update",
    "POST /v1.41/containers/general/rename?name=other",
    "POST /v1.41/containers/general/pause",
    "POST /v1.41/containers/general/wait",
    "DELETE /v1.41/containers/general?force=1",
    "POST /v1.41/containers/prune",
    "POST /v1.41/commit?container=general",
    "POST /v1.41/images/create?fromImage=debian",
    "POST /v1.41/images/load",
    "GET /v1.41/images/json",
    "GET /v1.41/images/debian/json",
    f"DELETE /v1.41/images/{ID}",
    "POST /v1.41/build",
    "POST /v1.41/networks/create",
    "POST /v1.41/networks/bridge/connect",
    "GET /v1.41/volumes",
    "POST /v1.41/volumes/prune",
    "GET /v1.41/secrets",
    "POST /v1.41/swarm/init",
    "GET /v1.41/plugins",
    "POST /v1.41/session",
    "POST /v1.41/auth",
    "GET /v1.41/system/df",
    # What is allowed, but otherwise than we ask it.
    "GET /v1.41/containers/json",
    "GET /v1.41/containers/json?all=1",
    f"GET /v1.41/containers/json?{LABELLED}x",
    f"GET /v1.41/containers/json?{LABELLED}&filters=%7B%7D",
    f"GET /v1.41/containers/json?%66ilters=%7B%7D&{LABELLED}",
    f"GET /v1.41/containers/json?filters=%7B%7D&{LABELLED}",
    "GET /v1.41/containers/general/start",
    "POST /v1.41/containers/general/json",
    "HEAD /v1.41/_ping",
    "OPTIONS /v1.41/info",
    "GET /info",
    "GET /v1.23/info",
    "POST /v1.23/containers/general/start",
    "POST /containers/general/start",
    "GET /v1.41/containers/general/json/",
    "GET //v1.41/info",
    "GET /v1.41/containers/general%2Fexec/json",
    "GET /v1.41/containers/%2e%2e/json",
    "GET /v1.41/containers/../json",
    "GET /v1.41/info/../volumes",
    "GET /v1.41/info%0a",
]


@pytest.fixture
def proxy(docker_proxy: DockerProxy) -> DockerProxy:
    return docker_proxy


@pytest.fixture
def narrow(engine_host: str) -> Iterator[DockerProxy]:
    """One that lets through what is called `ours-…` alone."""
    with little_power(engine_host, containers="ours-.*") as proxy:
        yield proxy


def raw(proxy: DockerProxy) -> httpx.Client:
    """Return a client that sends paths as they are written."""
    return httpx.Client(transport=httpx.HTTPTransport(uds=proxy.host.removeprefix("unix://")), trust_env=False)


def send(client: httpx.Client, call: str, *, body: bytes = b"", **headers: str) -> httpx.Response:
    method, _, path = call.partition(" ")
    extensions = {"target": path.encode()}
    return client.send(client.build_request(method, "http://d", content=body, headers=headers, extensions=extensions))


def without(call: str, folder: Path) -> Path:
    """Return a configuration that does not allow one call."""
    changed = folder / "haproxy.cfg"
    changed.write_text("".join(line for line in CONFIGURATION.read_text().splitlines(True) if call not in line))
    return changed


def sdk_methods(path: Path) -> set[str]:
    """Return what a module takes of the SDK's client."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    of_client = {
        node.attr
        for node in nodes
        if isinstance(node, ast.Attribute)
        and ast.unparse(node.value).rpartition(".")[2].lstrip("_") in ("client", "APIClient")
    }
    made = {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    return {each for each in of_client if hasattr(APIClient, each)} - {"close"} | (made & {"APIClient"})


def test_what_our_engine_asks_and_what_the_page_allows_are_the_same() -> None:
    asked = set().union(*map(sdk_methods, SOURCES))
    allowed = {name for each in table() for name in each.of_sdk}

    assert {"containers", "restart"} <= asked
    assert asked - allowed == set(), WHAT_TO_DO
    assert allowed - asked == set(), "nobody asks this any more: take it out of docs/security.md and haproxy.cfg"


def test_the_functions_that_the_page_names_are_those_of_our_engine() -> None:
    named = {name for each in table() for name in each.asked_by}

    assert {"inspect", "restart"} <= named
    assert [name for name in named if not hasattr(DockerEngine, name)] == []


def test_the_proxy_allows_the_calls_of_the_page_line_by_line() -> None:
    lines = re.findall(r"^    acl listed (.*)$", CONFIGURATION.read_text(), re.MULTILINE)

    assert lines == [f"var(txn.call) -m reg '{each.expression}'" for each in table()], (
        "write the lines `acl listed …` of haproxy.cfg as the table in docs/security.md has them"
    )


@pytest.mark.parametrize("call", FORBIDDEN)
def test_whatever_is_not_on_the_page_is_denied(proxy: DockerProxy, call: str) -> None:
    with raw(proxy) as client:
        answer = send(client, call)

    assert answer.status_code == 403
    assert call.startswith("HEAD") or "docs/security.md" in answer.json()["message"]


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b'{"Privileged": true}', {}),
        (b'{"Privileged": true}', {"transfer-encoding": "chunked"}),
        (b"", {"connection": "Upgrade", "upgrade": "h2c"}),
        (b"", {"connection": "Upgrade", "upgrade": "tcp"}),
    ],
    ids=["body", "chunked", "h2c", "tcp"],
)
def test_an_allowed_call_may_carry_nothing_and_become_nothing_else(
    proxy: DockerProxy, body: bytes, headers: dict[str, str]
) -> None:
    with raw(proxy) as client:
        plain = send(client, "POST /v1.41/containers/nobody-has-this-name/start")
        more = send(client, "POST /v1.41/containers/nobody-has-this-name/start", body=body, **headers)

    assert (plain.status_code, more.status_code) == (404, 403)


async def test_containers_of_other_names_can_be_neither_seen_nor_touched(
    narrow: DockerProxy, containers: DockerBench
) -> None:
    ours, other = containers.make(OBEYS, name=f"ours-{ID[:8]}"), containers.make(OBEYS)
    await start(containers, other)
    other_id = containers.client.api.inspect_container(other)["Id"]
    through = DockerEngine(host=narrow.host, timeout_s=TIMEOUT_S, workers=2)

    await through.start(ours)
    with pytest.raises(EngineRefused, match=r"CONTAINERS.*docs/security\.md"):
        await through.restart(other, grace_s=0)
    with raw(narrow) as client:
        by_id = [send(client, f"{call}").status_code for call in (
            f"GET /v1.41/containers/{other_id}/json",
            f"GET /v1.41/containers/{other_id}/logs?stdout=1",
            f"POST /v1.41/containers/{other_id}/stop",
            f"POST /v1.41/containers/{other_id[:12]}/stop",
        )]  # fmt: skip

    await through.close()
    assert by_id == [403] * 4
    assert containers.client.api.inspect_container(other)["State"]["Running"]
    assert containers.client.api.inspect_container(ours)["State"]["Running"]


async def test_a_container_in_the_network_of_one_that_may_not_be_seen_can_be_looked_at(
    narrow: DockerProxy, containers: DockerBench
) -> None:
    other = containers.make(OBEYS)
    await start(containers, other)
    ours = containers.make(OBEYS, name=f"ours-{ID[:8]}", network_mode=f"container:{other}")
    through = DockerEngine(host=narrow.host, timeout_s=TIMEOUT_S, workers=2)

    told = await through.circumstances(ours)

    await through.close()
    assert [word for key, word in told.items() if key.startswith("container ")] == ["not for us to see"]


async def test_of_the_containers_with_our_label_those_of_other_names_are_not_there(
    narrow: DockerProxy, containers: DockerBench
) -> None:
    containers.label(DockerSettings().discover_label, "false")  # whoever else looks for them here leaves them alone
    ours, other = containers.make(OBEYS, name=f"ours-{uuid.uuid4().hex[:8]}"), containers.make(OBEYS)
    through = DockerEngine(host=narrow.host, timeout_s=TIMEOUT_S, workers=2)

    found = {each.name for each in await through.labelled(DockerSettings().discover_label, prefix=PREFIX)}
    everything = {
        each.name for each in await containers.engine.labelled(DockerSettings().discover_label, prefix=PREFIX)
    }

    await through.close()
    assert found & {ours, other} == {ours}
    assert everything >= {ours, other}


async def test_containers_are_listed_by_another_label_where_the_proxy_is_told_of_it(engine_host: str) -> None:
    with little_power(engine_host, label="watch.me") as proxy:
        through = DockerEngine(host=proxy.host, timeout_s=TIMEOUT_S, workers=2)

        found = await through.labelled("watch.me", prefix=PREFIX)
        with pytest.raises(EngineRefused, match=r"docs/security\.md"):
            await through.labelled(DockerSettings().discover_label, prefix=PREFIX)

        await through.close()
        assert found == []


@pytest.mark.parametrize("says_why", [True, False], ids=["in-its-own-words", "with-a-page"])
async def test_where_a_call_is_denied_the_words_name_the_page(
    containers: DockerBench, tmp_path: Path, engine_host: str, *, says_why: bool
) -> None:
    name = containers.make(IGNORES)
    await start(containers, name)
    before = await containers.engine.inspect(name)
    less = without("/restart$", tmp_path)
    if not says_why:  # as other proxies do
        less.write_text(re.sub(r"(deny deny_status 403) content-type \S+ string '.*?'", r"\1", less.read_text()))
    with little_power(engine_host, configuration=less) as proxy:
        through = DockerEngine(host=proxy.host, timeout_s=TIMEOUT_S, workers=2)

        with pytest.raises(EngineRefused, match=rf"restart {name}: it was denied .*docs/security\.md") as refused:
            await through.restart(name, grace_s=0)

        await through.close()
    assert "<" not in str(refused.value)
    assert (await containers.engine.inspect(name)).instance == before.instance


async def test_where_nothing_is_allowed_at_all_that_is_a_refusal_and_no_outage(
    engine_host: str, tmp_path: Path
) -> None:
    with little_power(engine_host, configuration=without("/version$", tmp_path)) as proxy:
        through = DockerEngine(host=proxy.host, timeout_s=TIMEOUT_S, workers=2)

        with pytest.raises(EngineRefused, match=r"inspect general: it was denied .*docs/security\.md"):
            await through.inspect("general")

        await through.close()


async def test_an_engine_that_is_gone_behind_the_proxy_is_unreachable_and_no_verdict_on_anybody(tmp_path: Path) -> None:
    with little_power(f"unix://{tmp_path}/none.sock") as proxy:
        through = DockerEngine(host=proxy.host, timeout_s=TIMEOUT_S, workers=2)

        for call in (through.inspect("general"), through.restart("general", grace_s=0)):
            with pytest.raises(EngineUnreachable, match="no engine behind it"):
                await call

        await through.close()


def test_a_new_connection_to_the_proxy_is_a_new_one_to_the_engine(tmp_path: Path) -> None:
    """An engine that shuts down goes on answering on old connections, and takes none: by that we know it."""
    with FakeDocker(tmp_path) as fake, little_power(fake.host) as proxy, raw(proxy) as old:
        assert send(old, "GET /v1.41/info").status_code == 200
        Path(fake.host.removeprefix("unix://")).unlink()

        with raw(proxy) as new:
            assert send(new, "GET /v1.41/info").status_code == 503
        assert send(old, "GET /v1.41/info").status_code == 200


async def test_events_and_answers_pass_over_tcp_too(containers: DockerBench, engine_host: str) -> None:
    name = containers.make(OBEYS)
    with little_power(engine_host, listen=f"{LOOPBACK}:{free_port()}") as proxy:
        through = DockerEngine(host=proxy.host, timeout_s=TIMEOUT_S, workers=2)

        async with watching(through) as watcher:
            await through.start(name)
            await watcher.wait_for(name, "start")

        await through.close()
        assert proxy.denied() == []


def test_the_proxys_unit_is_in_order_and_has_little_power_itself(systemd_host: SystemdHost) -> None:
    program = systemd_host.root / "usr" / "sbin" / "haproxy"
    program.write_bytes(b"")  # that it is there is all that is asked
    program.chmod(0o755)
    systemd_host.write_unit(UNIT.name, UNIT.read_text())
    systemd_host.systemctl("daemon-reload")

    said = systemd_host.run("systemd-analyze", "verify", f"/run/systemd/system/{UNIT.name}")
    systemd_host.run("systemd-analyze", "security", "--no-pager", "--threshold=15", UNIT.name)  # fails beyond 1.5

    assert said == ""
