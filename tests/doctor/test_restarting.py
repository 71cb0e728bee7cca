"""Whom an autoheal or a watchtower acts on, by what they are told and by the labels."""

from typing import Any

import pytest

from supervisor.doctor.restarting import acts_on, has_healthcheck, is_restarter, kind

TEST = {"Test": ["CMD", "true"]}
ENABLE = "com.centurylinklabs.watchtower.enable"


def container(
    image: str, *env: str, labels: dict[str, str] | None = None, args: tuple[str, ...] = (), test: Any = None
) -> dict[str, Any]:
    """Return a container as it is inspected."""
    config = {"Image": image, "Env": list(env), "Labels": labels or {}, "Healthcheck": test}
    return {"Name": "/one", "Args": list(args), "Config": config}


@pytest.mark.parametrize(
    ("listed", "is_one"),
    [
        ({"Image": "willfarrell/autoheal:latest", "Names": ["/x"]}, True),
        ({"Image": "sha256:77aa", "Names": ["/autoheal"]}, True),
        ({"Image": "containrrr/watchtower", "Names": ["/x"]}, True),
        ({"Image": "ghcr.io/nicholas-fedor/watchtower:1.9", "Names": ["/x"]}, True),
        ({"Image": "autoheal.example/llama.cpp", "Names": ["/general"]}, False),
        ({"Image": "redis", "Names": None, "Command": None}, False),
    ],
)
def test_restarters_are_known_by_their_images_and_names(listed: dict[str, Any], is_one: bool) -> None:
    assert is_restarter(listed) is is_one


@pytest.mark.parametrize(
    ("restarter", "target", "acts"),
    [
        pytest.param(container("autoheal"), container("m", labels={"autoheal": "true"}, test=TEST), True, id="label"),
        pytest.param(container("autoheal"), container("m", labels={"autoheal": "false"}, test=TEST), False, id="off"),
        pytest.param(container("autoheal"), container("m", test=TEST), False, id="no-label"),
        pytest.param(container("autoheal"), container("m", labels={"autoheal": "true"}), False, id="no-healthcheck"),
        pytest.param(
            container("autoheal", "AUTOHEAL_CONTAINER_LABEL=all"), container("m", test=TEST), True, id="everybody"
        ),
        pytest.param(
            container("autoheal", "AUTOHEAL_CONTAINER_LABEL=heal"),
            container("m", labels={"heal": "TRUE"}, test=TEST),
            True,
            id="a-label-of-ones-own",
        ),
        pytest.param(container("watchtower"), container("m"), True, id="watchtower-takes-all"),
        pytest.param(container("watchtower"), container("m", labels={ENABLE: "false"}), False, id="left-out"),
        pytest.param(
            container("watchtower", "WATCHTOWER_LABEL_ENABLE=true"), container("m"), False, id="only-labelled"
        ),
        pytest.param(
            container("watchtower", args=("--label-enable",)), container("m", labels={ENABLE: "true"}), True, id="is"
        ),
        pytest.param(container("watchtower", "WATCHTOWER_MONITOR_ONLY=1"), container("m"), False, id="only-looks"),
        pytest.param(container("watchtower", args=("--monitor-only",)), container("m"), False, id="only-looks-too"),
        pytest.param(container("redis"), container("m", test=TEST), False, id="no-restarter"),
    ],
)
def test_a_restarter_acts_on_whom_it_is_told_to(restarter: dict[str, Any], target: dict[str, Any], acts: bool) -> None:
    assert bool(acts_on(restarter, target)) is acts


def test_a_healthcheck_that_was_switched_off_is_none() -> None:
    assert not has_healthcheck(container("m", test={"Test": ["NONE"]}))
    assert kind(container("m")) == ""
