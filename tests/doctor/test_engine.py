"""What stands between the daemon and Docker, on real sockets: no socket, a silent one, one of others, a proxy."""

import contextlib
import os
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import docker
import pytest

from supervisor.doctor.account import Account
from supervisor.doctor.around import CALL_S
from supervisor.doctor.checks.engine import look
from testbed.debian import NotToBeHad
from testbed.docker_proxy import DockerProxy
from testbed.servers import ContainerServers
from tests.cannot import cannot
from tests.doctor.patient import around, backend, found, words
from tests.doctor.test_account import reachable
from tests.engines.private_engine import PrivateEngine

STRANGER = Account(uid=65534, gids=frozenset(), name="benchai-supervisor", whose="its unit says so")
TARGET = backend("general", port=8091, engine="docker", container="benchai-general")


def at(host: str) -> str:
    """Return the settings of an engine."""
    return f'[docker]\nhost = "{host}"'


def engine_host(client: docker.DockerClient) -> str:
    """Return where an engine is asked."""
    return os.environ.get("DOCKER_HOST") or str(client.api.base_url).replace(
        "http+docker://localhost", "unix:///var/run/docker.sock"
    )


class _Proxy(socketserver.ThreadingUnixStreamServer):
    """Passes on to an engine, one question a connection, and denies what holds one of `denied`."""

    daemon_threads = True
    engine: str
    denied: tuple[str, ...]


class _Handler(socketserver.BaseRequestHandler):
    server: _Proxy

    def handle(self) -> None:
        head = b""
        while b"\r\n\r\n" not in head and (piece := self.request.recv(65536)):
            head += piece
        line = head.split(b"\r\n")[0].decode()
        if any(line.startswith(each.split()[0]) and each.split()[1] in line for each in self.server.denied):
            self.request.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        with closing(socket.socket(socket.AF_UNIX)) as engine:
            engine.connect(self.server.engine)
            engine.sendall(head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
            while piece := engine.recv(65536):
                self.request.sendall(piece)


@contextmanager
def proxy(path: Path, engine: str, *denied: str) -> Iterator[str]:
    """Have a proxy before an engine; return where it is asked."""
    with _Proxy(str(path), _Handler) as server:
        server.engine, server.denied = engine.removeprefix("unix://"), denied
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"unix://{path}"
        server.shutdown()


def test_where_no_target_is_a_container_docker_is_not_looked_at(tmp_path: Path) -> None:
    assert list(look(around(tmp_path, more=at(f"unix://{tmp_path}/none.sock")))) == []


def test_a_socket_that_is_missing_is_told_with_how_to_start_docker(tmp_path: Path) -> None:
    (only,) = found(look, around(tmp_path, TARGET, more=at(f"unix://{tmp_path}/none.sock")))

    assert (only.severity, only.seen) == ("error", f"there is no {tmp_path}/none.sock")
    assert only.command == "systemctl start docker"


def test_a_socket_that_nobody_listens_on_is_told(tmp_path: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as left_behind:
        left_behind.bind(str(tmp_path / "docker.sock"))

        (only,) = found(look, around(tmp_path, TARGET, more=at(f"unix://{tmp_path}/docker.sock")))

    assert words([only]) == [f"error -: nobody listens at unix://{tmp_path}/docker.sock"]


def test_an_engine_that_hangs_costs_seconds(tmp_path: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as silent:
        silent.bind(str(tmp_path / "docker.sock"))
        silent.listen()
        began = time.monotonic()

        (only,) = found(look, around(tmp_path, TARGET, more=at(f"unix://{tmp_path}/docker.sock")))

    assert "does not answer within" in only.seen
    assert time.monotonic() - began < 3 * CALL_S


def test_a_user_who_may_not_open_the_socket_is_told_the_group(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        cannot("only root can give files to others")
    with closing(socket.socket(socket.AF_UNIX)) as closed:
        closed.bind(str(reachable(tmp_path) / "docker.sock"))
        os.chown(tmp_path / "docker.sock", 0, 4)
        (tmp_path / "docker.sock").chmod(0o660)
        patient = around(tmp_path, TARGET, more=at(f"unix://{tmp_path}/docker.sock"))
        patient.account = STRANGER

        first, _ = found(look, patient)

    assert words([first]) == [
        "error -: benchai-supervisor (its unit says so) may not open"
        f" {tmp_path}/docker.sock, which belongs to the group adm"
    ]
    assert first.command.startswith("usermod -aG adm benchai-supervisor")


def test_on_a_real_engine_only_the_missing_container_is_told(
    tmp_path: Path, engine: docker.DockerClient, servers: ContainerServers, model: Path
) -> None:
    servers.run("doctor-general", model)
    settings = backend("general", port=8091, engine="docker", container="doctor-genral")
    settings += backend("code", port=8092, engine="docker", container="doctor-general")

    only, *others = found(look, around(tmp_path, settings, more=at(engine_host(engine))))

    assert (words([only]), others) == (["error general: Docker has no container doctor-genral"], [])
    assert "there is doctor-general" in only.cure


def test_what_a_proxy_denies_is_told_call_by_call(
    tmp_path: Path, engine: docker.DockerClient, servers: ContainerServers, model: Path
) -> None:
    servers.run("doctor-general", model)
    settings = backend("general", port=8091, engine="docker", container="doctor-general")
    denied = ("POST /restart", "GET /top", "GET /containers/json")
    with proxy(tmp_path / "proxy.sock", engine_host(engine), *denied) as host:
        seen = words(found(look, around(tmp_path, settings, more=at(host))))

    assert seen == [
        "error -: what stands before the engine denies POST /containers/NAME/restart",
        "note -: what stands before the engine denies GET /containers/NAME/top: causes will be known less often",
        "note -: other containers were not seen: what stands before the engine denies GET /containers/json",
    ]


@pytest.mark.parametrize(
    ("containers", "more"),
    [
        pytest.param("", [], id="all-containers"),
        pytest.param(
            "doctor-general",
            ["note -: not seen: whether we may act; what stands before the engine decides by the container"],
            id="this-one-alone",
        ),
    ],
)
def test_our_own_proxy_allows_what_is_needed(
    tmp_path: Path,
    engine: docker.DockerClient,
    servers: ContainerServers,
    model: Path,
    containers: str,
    more: list[str],
) -> None:
    servers.run("doctor-general", model)
    settings = backend("general", port=8091, engine="docker", container="doctor-general")
    with contextlib.ExitStack() as stack:
        try:
            proxy = stack.enter_context(DockerProxy(engine_host(engine), containers=containers))
            proxy.start()
        except NotToBeHad as reason:
            cannot(str(reason))
        seen = words(found(look, around(tmp_path, settings, more=at(proxy.host))))

    hidden = "note -: other containers were not seen: what stands before the engine denies GET /containers/json"
    assert seen == [*more, hidden]


def test_looking_leaves_every_container_as_it_was(
    tmp_path: Path, dockerd: PrivateEngine, image: str, model: Path
) -> None:
    with closing(dockerd.client()) as client, ContainerServers(client, image) as servers:
        servers.run("doctor-general", model)
        before = client.containers.get("doctor-general").attrs["State"]
        settings = backend("general", port=8091, engine="docker", container="doctor-general")

        assert found(look, around(tmp_path, settings, more=at(dockerd.host))) == []
        assert client.containers.get("doctor-general").attrs["State"] == before
        assert len(client.containers.list(all=True)) == 1
