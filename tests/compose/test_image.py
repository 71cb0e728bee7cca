"""The image that our Dockerfile makes: little in it, nothing to install more with, and a process that heeds signals."""

import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import docker
import pytest
from docker.errors import ContainerError, ImageNotFound
from docker.models.containers import Container

from supervisor import __version__
from testbed import own_image, owner
from testbed.base_image import ensure_base_image
from testbed.clients import busy, free_port, wait_until
from testbed.container_servers import INNER_PORT, OWNER_LABEL, ContainerServers
from testbed.image import LABEL

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # the first run makes a Debian and fetches every package

MOST_MB: Final = (
    60  # beyond the base; 42 when this was written, 20 of them compiled ahead, which a read-only root needs
)
STOPS_WITHIN_S: Final = 8.0
OURS: Final = "/var/lib/benchai-supervisor"
SETTINGS: Final = '[[backends]]\nname = "general"\nurl = "http://127.0.0.1:9"\nmodels = ["general"]\nengine = "none"\n'
SECOND_NS: Final = 1_000_000_000
IMPATIENT: Final = {"interval": SECOND_NS, "timeout": SECOND_NS, "retries": 1, "start_period": 0}


@pytest.fixture(scope="module")
def built(engine: docker.DockerClient) -> Iterator[str]:
    tag = own_image.build(engine, f"{own_image.TAG}-alone")
    yield tag
    with contextlib.suppress(ImageNotFound):
        engine.images.remove(tag, force=True)


@pytest.fixture(scope="module")
def running(engine: docker.DockerClient, built: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """The daemon as the Dockerfile says it is run, with as little power as it gets by with."""
    settings = tmp_path_factory.mktemp("image") / "settings.toml"
    settings.write_text(SETTINGS)
    container = start(engine, built, settings)
    try:
        wait_until(lambda: health(container) == "healthy", "it is healthy", within_s=60.0)
        yield container
    finally:
        container.remove(force=True, v=True)


def start(engine: docker.DockerClient, image: str, settings: Path, **more: Any) -> Container:
    return engine.containers.run(
        image,
        detach=True,
        labels={LABEL: "supervisor", OWNER_LABEL: owner.me()},
        read_only=True,
        tmpfs={"/tmp": "", "/run/benchai-supervisor": "uid=10001,gid=10001"},  # noqa: S108 - the container's
        volumes=[f"{settings}:/etc/benchai-supervisor/settings.toml:ro", OURS],
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        network_mode="none",
        pid_mode="host",  # as Compose has it: process 1, which no signal ends by default, is another
        healthcheck=IMPATIENT,  # how often, that is: what is asked is the image's own
        **more,
    )


def health(container: Container) -> str:
    container.reload()
    return str(container.attrs["State"]["Health"]["Status"])


def asked(container: Container, *command: str) -> tuple[int | None, str]:
    status, said = container.exec_run(list(command))
    assert isinstance(said, bytes)
    return status, said.decode()


def in_image(engine: docker.DockerClient, image: str, command: str) -> str:
    return bytes(engine.containers.run(image, ["sh", "-c", command], remove=True)).decode()


def test_it_is_little_more_than_its_base(engine: docker.DockerClient, built: str) -> None:
    sizes = [engine.images.get(tag).attrs["Size"] for tag in (built, ensure_base_image(engine))]

    assert sizes[0] - sizes[1] < MOST_MB * 1e6


def test_nothing_in_it_installs_or_compiles(engine: docker.DockerClient, built: str) -> None:
    tools = in_image(engine, built, "command -v pip pip3 uv gcc cc c++ make git curl; python -m pip --version; true")
    packages = in_image(engine, built, "ls /opt/benchai/lib/python3*/site-packages")

    assert tools == ""
    assert {"supervisor", "docker"} <= set(packages.split())
    assert set(packages.split()) & {"pip", "setuptools", "wheel", "hatchling"} == set()


def test_its_labels_say_what_it_is(engine: docker.DockerClient, built: str) -> None:
    labels = engine.images.get(built).labels

    assert labels["org.opencontainers.image.title"] == "benchai-supervisor"
    assert labels["org.opencontainers.image.licenses"] == "MIT"


@pytest.mark.parametrize("command", ["benchai-supervisord", "benchai-supervisorctl"])
def test_both_commands_are_there(engine: docker.DockerClient, built: str, command: str) -> None:
    assert __version__ in in_image(engine, built, f"{command} --version")


def test_without_settings_it_says_what_is_missing_and_ends(engine: docker.DockerClient, built: str) -> None:
    with pytest.raises(ContainerError) as ended:
        engine.containers.run(built, network_mode="none", remove=True)

    assert ended.value.exit_status == 2
    assert "/etc/benchai-supervisor/settings.toml" in str(ended.value)


def test_it_runs_with_no_rights_at_all_on_a_root_it_cannot_write(running: Container) -> None:
    _, rights = asked(running, "grep", "-E", "^(CapEff|NoNewPrivs|Uid)", f"/proc/{pid_of(running)}/status")
    _, user = asked(running, "whoami")
    status, refused = asked(running, "touch", "/opt/benchai/new")

    assert rights.split() == ["Uid:", *["10001"] * 4, "CapEff:", "0" * 16, "NoNewPrivs:", "1"]
    assert user == "benchai\n"
    assert status != 0
    assert "Read-only file system" in refused


def test_its_tools_answer_inside(running: Container) -> None:
    status, table = asked(running, "benchai-supervisorctl", "status")

    assert (status, table.split()[0]) == (3, "general")


def test_it_is_healthy_only_while_it_decides(running: Container) -> None:
    assert health(running) == "healthy"

    running.kill(signal=signal.SIGSTOP)
    try:
        wait_until(lambda: health(running) == "unhealthy", "it is unhealthy", within_s=30.0)
    finally:
        running.kill(signal=signal.SIGCONT)
    wait_until(lambda: health(running) == "healthy", "it is healthy again", within_s=30.0)


def test_a_hangup_has_its_settings_read_anew_and_does_not_end_it(running: Container) -> None:
    pid = pid_of(running)

    running.kill(signal=signal.SIGHUP)
    wait_until(lambda: b"settings read anew: nothing has changed" in bytes(running.logs()), "it says so")
    status, _ = asked(running, "benchai-supervisorctl", "status")

    assert status == 3
    assert pid_of(running) == pid


def test_a_stop_ends_it_in_seconds_and_well(engine: docker.DockerClient, built: str, tmp_path: Path) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text(SETTINGS)
    another = start(engine, built, settings)
    try:
        wait_until(lambda: health(another) == "healthy", "it is healthy", within_s=60.0)
        began = time.monotonic()

        another.stop(timeout=60)

        assert time.monotonic() - began < STOPS_WITHIN_S
        assert another.wait()["StatusCode"] == 0
    finally:
        another.remove(force=True, v=True)


def pid_of(container: Container) -> int:
    container.reload()
    return int(container.attrs["State"]["Pid"])


def test_its_probe_is_a_healthcheck_that_busy_servers_pass_and_hung_ones_do_not(
    engine: docker.DockerClient, built: str, servers: ContainerServers, model: Path
) -> None:
    """A health check of Docker's own, beside a real server: in its network, as a sidecar has it."""
    port = free_port()
    url = servers.run("probed", model, "-np", "1", port=port)
    server = servers.container("probed")
    probe = ["CMD", "benchai-supervisorctl", "probe", "-t", "5", "--url", f"http://127.0.0.1:{INNER_PORT}"]
    checked = {"test": probe, "interval": SECOND_NS, "timeout": 8 * SECOND_NS, "retries": 1, "start_period": 0}
    beside = engine.containers.run(
        built,
        ["sleep", "600"],
        detach=True,
        labels={LABEL: "probe", OWNER_LABEL: owner.me()},
        network_mode=f"container:{server.id}",
        healthcheck=checked,
    )
    try:
        wait_until(lambda: health(beside) == "healthy", "it is healthy", within_s=60.0)
        with busy(url) as user:
            user.wait_first_token()
            wait_until(lambda: "busy" in said_last(beside), "it was probed while it was busy", within_s=60.0)
            while_busy = health(beside)
        with servers.freeze("probed"):
            wait_until(lambda: health(beside) == "unhealthy", "it is unhealthy", within_s=60.0)
            said = said_last(beside)
    finally:
        beside.remove(force=True, v=True)

    assert while_busy == "healthy"
    assert "ERROR (" in said


def said_last(container: Container) -> str:
    """Return what its last health check printed."""
    container.reload()
    log = container.attrs["State"]["Health"]["Log"]
    return str(log[-1]["Output"]) if log else ""
