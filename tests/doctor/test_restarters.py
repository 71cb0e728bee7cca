"""Others who restart the same containers, as a real engine tells of them."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from supervisor.doctor.checks.restarters import look
from testbed.clients import wait_until
from testbed.servers import ContainerServers
from tests.doctor.patient import around, backend, found, words
from tests.doctor.test_engine import at, engine_host

TARGET = "doctor-target"
CHECK = {"test": ["CMD", "/no/such/curl", "-f", "http://127.0.0.1:8080/health"], "interval": 10**9, "retries": 1}
SLEEPS = ["-c", "import time; time.sleep(600)"]


@pytest.fixture
def seen(
    tmp_path: Path, engine: docker.DockerClient, image: str, servers: ContainerServers, model: Path
) -> Iterator[Any]:
    """Return a function that runs a target and others beside it, and returns what is found."""
    others: list[Any] = []

    def run(*beside: dict[str, Any], **target: Any) -> list[str]:
        servers.run(TARGET, model, ready=False, **target)
        for each in beside:
            # Whatever it does is of no account here: it is known by what it is called and told.
            keys = {"entrypoint": ["/usr/bin/python3", *SLEEPS], "detach": True, **each}
            others.append(engine.containers.create(image, **{k: v for k, v in keys.items() if k != "detach"}))
            others[-1].start()
        settings = backend("general", port=8091, engine="docker", container=TARGET)
        patient = around(tmp_path, settings, more=at(engine_host(engine)))
        return [f"{said} | {each.command or each.cure}" for each in found(look, patient) for said in words([each])]

    yield run
    for each in others:
        each.remove(force=True)


def test_an_autoheal_that_acts_on_a_target_is_in_the_way(seen: Any) -> None:
    told = seen({"name": "doctor-autoheal", "environment": {"AUTOHEAL_CONTAINER_LABEL": "all"}}, healthcheck=CHECK)

    assert told[0] == (
        "error general: doctor-autoheal restarts doctor-target when its HEALTHCHECK fails "
        "(AUTOHEAL_CONTAINER_LABEL=all), also while it works | docker stop doctor-autoheal"
    )


def test_an_autoheal_that_leaves_the_targets_alone_is_only_mentioned(seen: Any) -> None:
    told = seen({"name": "doctor-autoheal"}, healthcheck=CHECK)

    assert "note -: doctor-autoheal (autoheal) runs, and leaves the targets alone | " in told
    assert not [each for each in told if each.startswith("error")]


def test_a_watchtower_that_takes_everybody_is_told_with_the_label_that_leaves_one_out(seen: Any) -> None:
    (told,) = seen({"name": "doctor-watchtower"})

    assert told.startswith("warning general: doctor-watchtower replaces doctor-target when its image changes")
    assert told.endswith("create doctor-target with the label com.centurylinklabs.watchtower.enable=false")


def test_a_watchtower_that_takes_everybody_is_one_finding_for_all_of_them(
    tmp_path: Path, engine: docker.DockerClient, seen: Any, servers: ContainerServers, model: Path
) -> None:
    seen({"name": "doctor-watchtower"})
    servers.run("doctor-second", model, ready=False)
    settings = "".join(
        backend(name, port=port, engine="docker", container=container)
        for name, port, container in (("general", 8091, TARGET), ("code", 8093, "doctor-second"))
    )

    (told,) = words(found(look, around(tmp_path, settings, more=at(engine_host(engine)))))

    assert told.startswith(f"warning -: doctor-watchtower replaces {TARGET} and doctor-second when their images change")


def test_a_watchtower_that_was_told_to_leave_it_out_is_not(seen: Any) -> None:
    told = seen(
        {"name": "doctor-watchtower", "environment": {"WATCHTOWER_LABEL_ENABLE": "true"}},
    )

    assert told == ["note -: doctor-watchtower (watchtower) runs, and leaves the targets alone | "]


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        pytest.param("unless-stopped", [], id="the-one-that-suits"),
        pytest.param("on-failure", [], id="after-crashes-only"),
        pytest.param(
            "always",
            [
                "note general: doctor-target has restart: always, so Docker starts it again with itself after you have"
                " stopped it | docker update --restart unless-stopped doctor-target"
            ],
            id="always",
        ),
    ],
)
def test_of_dockers_own_policies_only_the_one_that_undoes_a_stop_is_mentioned(
    seen: Any, policy: str, told: list[str]
) -> None:
    assert seen(restart_policy={"Name": policy}) == told


def test_a_healthcheck_whose_program_the_image_lacks_is_told_by_the_program(
    seen: Any, engine: docker.DockerClient
) -> None:
    first = seen(healthcheck=CHECK)
    wait_until(lambda: health(engine) == "unhealthy", "Docker finds it unhealthy")
    assert [each for each in first if "unhealthy" in each] == []

    (told,) = looked(engine)

    assert told.startswith(
        "warning general: doctor-target is unhealthy to Docker because its image has no /no/such/curl"
    )


def health(engine: docker.DockerClient) -> str:
    """Return what Docker makes of the target's HEALTHCHECK."""
    return str(engine.api.inspect_container(TARGET)["State"]["Health"]["Status"])


@pytest.fixture
def label(engine: docker.DockerClient, image: str) -> Iterator[Any]:
    """Return a function that creates a target with labels of others' and returns what is found."""
    made: list[Any] = []

    def create(**labels: str) -> list[str]:
        named = {key.replace("_", "."): value for key, value in labels.items()}
        named = {key.replace("depends.on", "depends_on"): value for key, value in named.items()}
        made.append(engine.containers.create(image, name=TARGET, labels=named))
        return looked(engine)

    yield create
    for each in made:
        each.remove(force=True)


def looked(engine: docker.DockerClient) -> list[str]:
    """Return what is found of a target that is there already."""
    with tempfile.TemporaryDirectory() as folder:
        settings = backend("general", port=8091, engine="docker", container=TARGET)
        return words(found(look, around(Path(folder), settings, more=at(engine_host(engine)))))


def test_a_task_of_a_swarm_and_a_part_of_a_pod_are_their_masters_to_restart(label: Any) -> None:
    told = label(
        com_docker_swarm_task_id="77aa", com_docker_swarm_service_name="models_general", io_kubernetes_pod_name="p-1"
    )

    assert told == [
        "error general: doctor-target is a task of the swarm service models_general, which replaces what is restarted",
        "error general: doctor-target is a part of the pod p-1, which kubelet restarts",
    ]


def test_a_dependency_of_composes_that_restarts_it_too_is_mentioned(label: Any) -> None:
    (told,) = label(com_docker_compose_depends_on="redis:service_started:true")

    assert told.startswith("note general: compose restarts doctor-target whenever it restarts what that depends on")
