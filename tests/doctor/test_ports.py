"""Ports that somebody else has, that nobody has, and servers that are two targets: real listeners, real containers."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import docker

from supervisor.doctor.checks.ports import look
from testbed.clients import free_port, wait_until
from testbed.servers import ContainerServers
from testbed.stack import is_free
from tests.doctor.patient import around, backend, found, words
from tests.doctor.test_engine import at, engine_host

US = f"(pid {os.getpid()})"


def test_our_own_port_that_somebody_has_is_told_with_who(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as server:
        number = taken.getsockname()[1]
        patient = around(tmp_path, backend("general", port=server.getsockname()[1]), more=f"[agent]\nport = {number}")

        (only,) = found(look, patient)

    assert words([only])[0].startswith(f"error -: our port {number} is taken by ")
    assert US in only.seen
    assert only.command == f"ss -ltnp 'sport = :{number}'"


def test_while_the_daemon_runs_its_ports_are_its_own(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as ours:
        number = ours.getsockname()[1]
        targets = backend("general", port=number + 0)
        patient = around(tmp_path, targets, more=f"[agent]\nport = {free_port()}", status={"daemon": {}, "targets": []})

        assert found(look, patient) == []


def test_a_server_that_is_only_watched_and_not_there_is_an_error_and_one_of_ours_may_not_run(tmp_path: Path) -> None:
    watched, ours = free_port(), free_port()
    settings = backend("watched", port=watched)
    settings += backend("ours", port=ours, engine="process", command=["llama-server"])

    told = words(found(look, around(tmp_path, settings)))

    assert told == [
        f"error watched: nobody listens on port {watched}",
        f"note ours: nobody listens on port {ours}",
    ]


def test_a_process_of_ours_that_is_said_to_run_and_does_not_listen_is_an_error(tmp_path: Path) -> None:
    number = free_port()
    status = {"targets": [{"name": "general", "state": "RUNNING", "pid": os.getpid()}]}
    settings = backend("general", port=number, engine="process", command=["llama-server"])

    (told,) = words(found(look, around(tmp_path, settings, status=status)))

    assert told == f"error general: nobody listens on port {number}"


def test_whoever_was_stopped_by_hand_need_not_answer(tmp_path: Path) -> None:
    status = {"targets": [{"name": "general", "state": "STOPPED"}]}

    assert found(look, around(tmp_path, backend("general", port=free_port()), status=status)) == []


def test_a_stranger_on_the_port_of_a_process_of_ours_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger, subprocess.Popen(["/bin/sleep", "60"]) as ours:
        try:
            number = stranger.getsockname()[1]
            status = {"targets": [{"name": "general", "state": "RUNNING", "pid": ours.pid}]}
            settings = backend("general", port=number, engine="process", command=["/bin/sleep", "60"])

            (only,) = found(look, around(tmp_path, settings, status=status))
        finally:
            ours.kill()

    assert f"port {number} is answered by" in only.seen
    assert only.seen.endswith(f"{US}, and not by general")


def test_a_child_of_our_process_is_no_stranger(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        status = {"targets": [{"name": "general", "state": "RUNNING", "pid": os.getppid()}]}
        settings = backend("general", port=server.getsockname()[1], engine="process", command=[sys.executable])

        assert found(look, around(tmp_path, settings, status=status)) == []


def test_a_port_that_a_container_does_not_publish_is_told_with_those_that_it_does(
    tmp_path: Path, engine: docker.DockerClient, servers: ContainerServers, model: Path
) -> None:
    published = free_port()
    servers.run("doctor-general", model, port=published)
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        number = stranger.getsockname()[1]
        settings = backend("general", port=number, engine="docker", container="doctor-general")
        settings += backend("code", port=published, engine="docker", container="doctor-code")

        (only,) = found(look, around(tmp_path, settings, more=at(engine_host(engine))))

    assert f"port {number} is answered by" in only.seen
    assert only.seen.endswith(f"doctor-general publishes {published}")
    assert only.command == "docker port doctor-general"


def dead_container(servers: ContainerServers, model: Path) -> int:
    """Return the port of a container that was killed."""
    number = free_port()
    servers.run("doctor-general", model, port=number)
    servers.container("doctor-general").kill()
    return number


def test_a_container_that_does_not_run_is_only_mentioned(
    tmp_path: Path, engine: docker.DockerClient, servers: ContainerServers, model: Path
) -> None:
    number = dead_container(servers, model)
    settings = backend("general", port=number, engine="docker", container="doctor-general")

    (only,) = found(look, around(tmp_path, settings, more=at(engine_host(engine))))

    assert words([only]) == ["note general: its container does not run (exited)"]
    assert only.command == "docker start doctor-general"


def test_whoever_has_the_port_of_a_container_that_does_not_run_is_named(
    tmp_path: Path, engine: docker.DockerClient, servers: ContainerServers, model: Path
) -> None:
    number = dead_container(servers, model)
    settings = backend("general", port=number, engine="docker", container="doctor-general")
    wait_until(lambda: is_free(number), "the port is free")

    with socket.create_server(("127.0.0.1", number)):
        (only,) = found(look, around(tmp_path, settings, more=at(engine_host(engine))))

    assert only.seen.startswith(f"port {number} is answered by")
    assert only.seen.endswith(f"{US}, and doctor-general does not run (exited)")
    assert "give the target its own port" in only.cure


def test_two_targets_that_are_one_server_by_two_addresses_are_told(tmp_path: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        number = server.getsockname()[1]
        settings = backend("general", port=number) + backend("code", port=number).replace("127.0.0.1", "127.0.0.2")

        (only,) = found(look, around(tmp_path, settings))

    assert words([only]) == [f"error code: general and code are one server, on port {number}"]
