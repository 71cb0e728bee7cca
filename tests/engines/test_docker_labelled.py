"""What a container says of itself, and where it can be reached from here: an inspection, changed where it matters."""

from typing import Any

import pytest

from supervisor.engines.docker_labelled import Labelled, read
from tests.engines.inspections import GENERAL, exited, inspection

LABEL, PREFIX = "benchai.supervisor.enable", "benchai.supervisor."
UNIX, TCP = "unix:///var/run/docker.sock", "tcp://engine.lan:2375"
NETWORKS = GENERAL["NetworkSettings"]["Networks"]


def seen(host: str = UNIX, **parts: Any) -> Labelled:
    return read(inspection(**parts), host=host, label=LABEL, prefix=PREFIX)


def published(*bindings: tuple[str, str], port: str = "8080/tcp") -> dict[str, Any]:
    told = [{"HostIp": address, "HostPort": number} for address, number in bindings]
    return {"HostConfig": {"PortBindings": {}}, "NetworkSettings": {"Ports": {port: told}, "Networks": NETWORKS}}


def test_only_our_labels_are_read_and_the_one_that_counts() -> None:
    labels = {f"{PREFIX}name": "planner", LABEL: "true", "token": "hush"}

    assert seen(Config={"Labels": labels}).labels == {LABEL: "true", f"{PREFIX}name": "planner"}
    told = read(inspection(Config={"Labels": {"staging": "true"}}), host=UNIX, label="staging", prefix=PREFIX)
    assert told.labels == {"staging": "true"}


@pytest.mark.parametrize(
    ("host", "address", "url"),
    [
        (UNIX, "127.0.0.1", "http://127.0.0.1:8091"),
        (UNIX, "0.0.0.0", "http://127.0.0.1:8091"),
        (UNIX, "::", "http://127.0.0.1:8091"),
        (UNIX, "::1", "http://[::1]:8091"),
        (UNIX, "192.168.1.5", "http://192.168.1.5:8091"),
        (TCP, "0.0.0.0", "http://engine.lan:8091"),
        (TCP, "", "http://engine.lan:8091"),
    ],
)
def test_a_published_port_is_reached_on_the_engines_host(host: str, address: str, url: str) -> None:
    assert seen(host, **published((address, "8091"))).doors == {8080: url}


def test_of_two_ways_to_a_port_the_first_is_told() -> None:
    assert seen(**published(("0.0.0.0", "8091"), ("::", "8092"))).doors == {8080: "http://127.0.0.1:8091"}


def test_a_port_that_speaks_no_tcp_is_no_door() -> None:
    assert seen(**published(("0.0.0.0", "8091"), port="8080/udp")).doors == {}


def test_a_port_that_the_engine_chooses_is_known_while_it_runs_alone() -> None:
    chosen = {"PortBindings": {"8080/tcp": [{"HostIp": "", "HostPort": ""}]}}
    running = {"Ports": {"8080/tcp": [{"HostIp": "0.0.0.0", "HostPort": "49153"}]}, "Networks": NETWORKS}

    assert seen(HostConfig=chosen, NetworkSettings=running).doors == {8080: "http://127.0.0.1:49153"}
    assert seen(HostConfig=chosen, NetworkSettings={"Ports": {}, "Networks": {}}).doors == {}


def test_a_port_that_somebody_chose_is_known_while_it_does_not_run_too() -> None:
    asleep = seen(State=exited(), NetworkSettings={"Ports": {}, "Networks": {}})

    assert asleep.doors == {8080: "http://127.0.0.1:8091"}
    assert (asleep.address, asleep.was_started) == ("", True)


def test_its_own_address_counts_where_its_engine_is_on_our_host() -> None:
    assert (seen().address, seen(TCP).address) == ("172.18.0.2", "")


def test_one_on_the_hosts_network_is_on_the_loopback() -> None:
    assert seen(NetworkSettings={"Networks": {"host": {"IPAddress": ""}}}).address == "127.0.0.1"


def test_what_its_image_exposes_is_told() -> None:
    assert seen(Config={"ExposedPorts": {"9000/tcp": {}, "8080/tcp": {}, "53/udp": {}}}).exposed == (8080, 9000)
    assert seen(Config={"ExposedPorts": None, "Labels": None}).exposed == ()


def test_one_that_was_only_made_has_not_been_started() -> None:
    assert not seen(State=exited(Status="created")).was_started
