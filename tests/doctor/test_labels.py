"""Targets that are found by their labels, on a real engine, and what the doctor says of them."""

from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from supervisor.doctor.around import Around
from supervisor.doctor.checks.engine import look
from supervisor.doctor.labels import with_labelled
from testbed.clients import free_port
from tests.doctor.patient import around, backend, found, words
from tests.doctor.test_engine import at, engine_host, proxy

LABEL = "test.doctor.watch"
OWN = "benchai.supervisor."


@pytest.fixture
def labelled(engine: docker.DockerClient, image: str) -> Iterator[None]:
    """Three containers: one to be watched, one that says so wrongly, one that is not."""
    wanted = {
        "doctor-good": {LABEL: "true", f"{OWN}port": "8080", f"{OWN}models": "general,research"},
        "doctor-wrong": {LABEL: "true", f"{OWN}port": "8080", f"{OWN}modles": "general"},
        "doctor-not": {LABEL: "false"},
    }
    made = [
        engine.containers.create(image, name=name, labels=labels, ports={"8080/tcp": ("127.0.0.1", free_port())})
        for name, labels in wanted.items()
    ]
    for each in made[:2]:
        each.start()
    yield
    for each in made:
        each.remove(force=True)


def patient(folder: Path, host: str, *, discover: bool = True) -> Around:
    """Return what is around a daemon that looks for labels, or does not."""
    more = f'{at(host)}\ndiscover = {str(discover).lower()}\ndiscover_label = "{LABEL}"'
    alone = around(folder, backend("code", port=8093), more=more)
    settings, problems = with_labelled(alone.settings)
    return Around(settings=settings, path=alone.path, label_problems=problems)


@pytest.mark.usefixtures("labelled")
def test_what_is_labelled_is_a_target_and_what_is_labelled_wrongly_is_told(
    tmp_path: Path, engine: docker.DockerClient
) -> None:
    seen = patient(tmp_path, engine_host(engine))

    told = words(found(look, seen))

    assert [each.name for each in seen.targets] == ["code", "doctor-good"]
    assert seen.backends[1].models == ("general", "research")
    assert [each for each in told if "modles" in each and each.startswith("error -: container doctor-wrong: ")] == told


@pytest.mark.usefixtures("labelled")
def test_where_labels_are_not_looked_for_there_is_nothing_to_say(tmp_path: Path, engine: docker.DockerClient) -> None:
    seen = patient(tmp_path, engine_host(engine), discover=False)

    assert [each.name for each in seen.targets] == ["code"]
    assert list(look(seen)) == []


def test_a_proxy_that_denies_the_list_is_in_the_way_of_who_looks_for_labels(
    tmp_path: Path, engine: docker.DockerClient
) -> None:
    with proxy(tmp_path / "proxy.sock", engine_host(engine), "GET /containers/json") as host:
        told = words(found(look, patient(tmp_path, host)))

    assert told == ["error -: docker.discover is on, and what stands before the engine denies GET /containers/json"]
