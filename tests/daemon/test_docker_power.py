"""A life of the daemon with little power over Docker: all that it needs, nothing else, and nobody else."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest
from docker.models.containers import Container

from supervisor.engines.docker import DockerEngine
from supervisor.settings import DockerSettings
from supervisor.settings_labels import PREFIX
from testbed.docker_proxy import Call, DockerProxy
from tests.daemon.recovering import Ward
from tests.engines.bench import become, watching
from tests.engines.docker_power import WHAT_TO_DO, little_power, table

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
TARGETS = ("general", "code")
HASTY = "[policy]\nhung_after_s = 3.0\nclose_tick_s = 0.5\nbackoff_first_s = 1.0\n"


@dataclass(frozen=True, slots=True)
class Lived:
    """What came to the proxy in a life of the daemon, and whom it watched."""

    calls: tuple[Call, ...]
    denied: tuple[str, ...]
    ours: frozenset[str]  # names and ids
    names: frozenset[str]
    more: tuple[Call, ...]  # what the daemon asks where others have it to itself


@pytest.fixture(scope="module")
def lived(
    tmp_path_factory: pytest.TempPathFactory, model: Path, engine: docker.DockerClient, engine_host: str, image: str
) -> Iterator[Lived]:
    folder = tmp_path_factory.mktemp("power")
    with Ward(folder, model, engine, image) as ward:
        names = frozenset(map(ward.container, TARGETS))
        with little_power(engine_host, containers="|".join(names)) as proxy:
            live(ward, proxy)
            ids = {str(ward.servers.container(name).id) for name in names}
        with little_power(engine_host) as other:
            asyncio.run(what_others_would_disturb(other))
        denied = (*proxy.denied(), *other.denied())
        yield Lived(tuple(proxy.calls()), denied, names | ids, names, tuple(other.calls()))


def live(ward: Ward, proxy: DockerProxy) -> None:
    """Let happen what makes the daemon ask and do everything."""
    for name in TARGETS:
        ward.add(name)
    ward.servers.run(ward.container("general-of-another"), ward.model("code"))  # nobody's that we are to watch
    ward.comes_up(host=proxy.host, sections=HASTY)

    with ward.servers.freeze(ward.container("general")):
        ward.daemon.wait_target("general", verdict="ready", restarts=1)

    code = ward.servers.container(ward.container("code"))
    assert ward.daemon.ctl("stop", "code").returncode == 0
    assert ward.daemon.ctl("start", "code").returncode == 0
    assert ward.daemon.ctl("signal", "CONT", "code").returncode == 0
    stopped_and_started_by_hand(ward, code)
    code.pause()
    ward.daemon.wait_target("code", state="STOPPED")
    assert ward.daemon.ctl("start", "code").returncode == 0

    ward.model("code").unlink()
    ward.kill("code")
    ward.daemon.wait_target("code", cause="model missing")
    ward.until(
        lambda: any(call.path.endswith("/networks") for call in proxy.calls()), "what would cure it is looked at"
    )
    ward.daemon.stop()


async def what_others_would_disturb(proxy: DockerProxy) -> None:
    """Watch as the daemon does, and take the engine for quiet much sooner: others keep it busy. Look for labels."""
    engine = DockerEngine(host=proxy.host, timeout_s=10.0, workers=1, ping_every_s=0.05)
    async with watching(engine):
        await become("a quiet engine is asked whether it lives", lambda: has_asked(proxy, "/_ping"))
    await engine.labelled(DockerSettings().discover_label, prefix=PREFIX)
    await engine.close()


async def has_asked(proxy: DockerProxy, end: str) -> bool:
    return any(call.path.endswith(end) for call in proxy.calls())


def stopped_and_started_by_hand(ward: Ward, code: Container) -> None:
    code.stop(timeout=2)
    ward.daemon.wait_target("code", state="STOPPED")
    code.start()
    ward.daemon.wait_target("code", verdict="ready")


def test_nothing_is_denied_that_the_daemon_needs(lived: Lived) -> None:
    assert lived.calls
    assert lived.denied == (), WHAT_TO_DO


def test_every_call_that_the_page_allows_is_needed(lived: Lived) -> None:
    unused = [str(each) for each in table() if not any(each.is_met_by(call) for call in (*lived.calls, *lived.more))]

    assert unused == [], "have the story make the daemon ask it, or take it out of docs/security.md and haproxy.cfg"


def test_only_containers_in_the_settings_are_looked_at_and_touched(lived: Lived) -> None:
    asked_about = {container_of(call) for call in lived.calls} - {None}
    done_to = {container_of(call) for call in lived.calls if call.method != "GET"}

    assert lived.names < asked_about <= lived.ours
    assert done_to == lived.ours - lived.names  # by id: whoever has the name meanwhile is another


def container_of(call: Call) -> str | None:
    """Return the container that a call is about, as it names it."""
    parts = call.path.split("/")
    return parts[3] if parts[2:3] == ["containers"] and len(parts) == 5 else None
