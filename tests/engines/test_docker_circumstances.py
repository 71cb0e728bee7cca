"""Which circumstances a container has, out of inspections as engines answer them."""

from typing import Any

import pytest

from supervisor.engines.circumstances import MOST, File, Place, Port
from supervisor.engines.docker_circumstances import Around, depends_on, made_for, neighbour_of, on_host, read_around
from tests.engines.inspections import GENERAL, ID, IMAGE_ID, NETWORK_ID, exited, inspection

BESIDE = Around(networks={"benchai_default": NETWORK_ID, "bridge": "b11d" * 16})


def test_the_engine_knows_the_container_its_image_its_memory_and_its_networks() -> None:
    assert read_around(GENERAL, BESIDE) == {
        "container": ID,
        "image": IMAGE_ID,
        "memory": "8589934592 bytes",
        "network benchai_default": "there, joined",
    }


def test_an_image_that_is_gone_and_a_memory_without_a_limit_are_told() -> None:
    words = read_around(inspection(HostConfig={"Memory": 0}), Around(has_image=False))

    assert (words["image"], words["memory"]) == ("missing", "no limit")


@pytest.mark.parametrize(
    ("endpoints", "state", "known", "word"),
    [
        ({"EndpointID": "e", "NetworkID": "n"}, {}, "n", "there, joined"),
        ({"EndpointID": "", "NetworkID": "n"}, {}, "n", "there, detached"),
        (None, {}, "n", "there, detached"),
        (None, {}, None, "missing, detached"),
        ({"EndpointID": "", "NetworkID": "n"}, exited(), "n", "there, joined"),
        ({"EndpointID": "", "NetworkID": "n"}, exited(), None, "missing, joined"),
        ({"EndpointID": "", "NetworkID": "old"}, exited(), "n", "there anew, and not joined since"),
    ],
)
def test_a_network_is_told_with_whether_it_is_there_and_joined(
    endpoints: dict[str, str] | None, state: dict[str, Any], known: str | None, word: str
) -> None:
    networks = {} if endpoints is None else {"benchai_default": endpoints}
    container = inspection(NetworkSettings={"Networks": networks}, State=state)
    around = Around(networks={} if known is None else {"benchai_default": known})

    assert read_around(container, around)["network benchai_default"] == word


@pytest.mark.parametrize(
    ("mode", "networks"),
    [
        ("default", ["benchai_default", "bridge"]),
        ("benchai_default", ["benchai_default"]),
        ("none", []),
        ("host", []),
        (f"container:{ID}", []),
    ],
)
def test_a_container_is_made_for_networks_or_for_none(mode: str, networks: list[str]) -> None:
    assert made_for(inspection(HostConfig={"NetworkMode": mode})) == networks


def test_a_container_in_anothers_network_depends_on_that_one() -> None:
    container = inspection(HostConfig={"NetworkMode": f"container:{ID}"})

    words = read_around(container, Around(neighbour="exited"))

    assert neighbour_of(container) == ID
    assert words[f"container {ID[:12]}"] == "exited"


def test_a_server_depends_on_its_port_its_mounts_its_devices_and_the_files_it_is_told_of() -> None:
    assert depends_on(inspection(State=exited())) == {
        "port 8091": Port(address="127.0.0.1", number=8091),
        "mount /srv/models": Place(path="/srv/models"),
        "device /dev/dri": Place(path="/dev/dri"),
        "/models/phi-3.gguf": File(path="/srv/models/phi-3.gguf"),
        "/models/eyes.gguf": File(path="/srv/models/eyes.gguf"),
    }


def test_while_it_runs_its_port_is_its_own() -> None:
    assert depends_on(GENERAL)["port 8091"] == Port(address="127.0.0.1", number=8091, is_held=True)


@pytest.mark.parametrize(
    ("bindings", "ports"),
    [
        ({"80/tcp": [{"HostIp": "", "HostPort": "80"}]}, {"port 80": Port(address="0.0.0.0", number=80)}),
        ({"80/udp": [{"HostIp": "::", "HostPort": "80"}]}, {"port 80/udp": Port(address="::", number=80, is_udp=True)}),
        (
            {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "80"}, {"HostIp": "::1", "HostPort": "80"}]},
            {"port 80": Port(address="127.0.0.1", number=80), "port 80 at ::1": Port(address="::1", number=80)},
        ),
        ({"80/tcp": [{"HostIp": "", "HostPort": ""}]}, {}),
        ({"80/tcp": [{"HostIp": "", "HostPort": "0"}]}, {}),
        ({"80/tcp": [{"HostIp": "", "HostPort": "8000-8010"}]}, {}),
        ({"80/tcp": None}, {}),
        (None, {}),
    ],
)
def test_published_ports_are_those_that_have_a_number(bindings: Any, ports: dict[str, Port]) -> None:
    container = inspection(State=exited(), HostConfig={"PortBindings": bindings})

    assert {key: thing for key, thing in depends_on(container).items() if isinstance(thing, Port)} == ports


def test_on_the_hosts_network_the_port_in_its_arguments_is_the_hosts() -> None:
    container = inspection(State=exited(), HostConfig={"NetworkMode": "host", "PortBindings": {}})

    assert depends_on(container)["port 8080"] == Port(address="0.0.0.0", number=8080)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("/models/phi-3.gguf", "/srv/models/phi-3.gguf"),
        ("/models", "/srv/models"),
        ("/models/../models/a/b.gguf", "/srv/models/a/b.gguf"),
        ("/models/cache/a.gguf", "/var/lib/docker/volumes/benchai_cache/_data/a.gguf"),
        ("/modelsbeside/a.gguf", None),
        ("/models/tmp/a.gguf", None),
        ("/app/a.gguf", None),
    ],
)
def test_a_path_lies_on_the_host_where_its_innermost_mount_says(path: str, source: str | None) -> None:
    scratch = {"Type": "tmpfs", "Source": "", "Destination": "/models/tmp"}

    assert on_host(path, inspection(Mounts=[*GENERAL["Mounts"], scratch])) == source


def test_a_file_that_is_mounted_by_itself_is_found() -> None:
    mount = {"Type": "bind", "Source": "/srv/phi.gguf", "Destination": "/model.gguf"}

    assert on_host("/model.gguf", inspection(Mounts=[mount])) == "/srv/phi.gguf"


def test_a_name_without_a_directory_lies_where_the_server_runs() -> None:
    container = inspection(Args=["-m", "phi-3.gguf"], Config={"WorkingDir": "/models"})

    assert depends_on(container)["/models/phi-3.gguf"] == File(path="/srv/models/phi-3.gguf")


def test_of_the_environment_nothing_is_read_but_where_models_lie() -> None:
    variables = ["TOKEN=/models/hush", "LLAMA_ARG_MODEL=/models/phi-4.gguf", "LLAMA_ARG_API_KEY=/models/hushed"]

    things = depends_on(inspection(Args=[], Config={"Env": variables}))

    assert [key for key in things if key.startswith("/")] == ["/models/phi-4.gguf"]


def test_a_secret_is_no_file() -> None:
    things = depends_on(inspection(Args=["--api-key", "/models/hush", "--api-key-file", "/models/keys"]))

    assert "/models/hush" not in things
    assert things["/models/keys"] == File(path="/srv/models/keys")


def test_there_are_never_more_than_a_person_could_look_through() -> None:
    many = [f"/models/{number}.gguf" for number in range(1000)]

    assert len(depends_on(inspection(Args=many))) == MOST
