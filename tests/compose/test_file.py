"""compose/docker-compose.yml as a real Compose reads it."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from supervisor.settings_file import load
from testbed.cache import REPOSITORY
from testbed.compose import FILE, PROXY_FILE, Compose, ComposeFailed
from tests.compose.conftest import MODELS, flag

ASKED_FOR = {"MODELS_DIR": "/srv/models", "DOCKER_GID": "999"}

Services = dict[str, dict[str, Any]]


@pytest.fixture
def compose(command: list[str]) -> Compose:
    """Compose as for a user who has set what must be set."""
    return Compose(command=command, project="benchai-file", variables=ASKED_FOR)


@pytest.fixture
def services(compose: Compose) -> Services:
    return compose.services("--profile", "demo")


def test_the_router_comes_with_the_demo_profile_only(compose: Compose) -> None:
    plain, demo = compose.services(), compose.services("--profile", "demo")

    assert set(plain) == {*MODELS, "supervisor"}
    assert set(demo) - set(plain) == {"router"}


@pytest.mark.parametrize(("profile", "router"), [("demo", "router"), ("haproxy", "haproxy"), ("litellm", "litellm")])
def test_each_router_has_its_profile_and_comes_after_the_supervisor(
    compose: Compose, profile: str, router: str
) -> None:
    services = compose.services("--profile", profile)

    assert set(services) - {*MODELS, "supervisor"} == {router}
    assert "supervisor" in services[router]["depends_on"]
    assert services[router]["network_mode"] == "host"


@pytest.mark.parametrize("profile", ["haproxy", "litellm"])
def test_what_another_router_is_given_of_ours_is_there_and_cannot_be_written(compose: Compose, profile: str) -> None:
    mounts = compose.services("--profile", profile)[profile]["volumes"]

    ours = [mount for mount in mounts if mount["source"].startswith(str(REPOSITORY))]
    assert ours
    assert all(Path(mount["source"]).exists() and mount["read_only"] for mount in ours)


def test_haproxy_finds_the_agents_port_that_the_supervisor_is_given(compose: Compose) -> None:
    services = compose.services("--profile", "haproxy")

    port = services["supervisor"]["environment"]["BENCHAI_SUPERVISOR_AGENT__PORT"]
    assert f"${{AGENT_PORT-{port}}}" in (REPOSITORY / "integrations/haproxy/haproxy.cfg").read_text()


@pytest.mark.parametrize("missing", ASKED_FOR)
def test_what_only_the_user_can_know_is_asked_for_by_name(command: list[str], missing: str) -> None:
    rest = {key: value for key, value in ASKED_FOR.items() if key != missing}
    compose = Compose(command=command, project="benchai-file", variables=rest)

    with pytest.raises(ComposeFailed, match=f"{missing} is missing a value: set it in compose/.env"):
        compose.run("config")


def test_every_variable_is_explained_in_the_example_with_its_default() -> None:
    used = dict(re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", FILE.read_text() + PROXY_FILE.read_text()))
    explained = re.findall(r"^# ([A-Z_]+)=(\S*)$", (FILE.parent / ".env.example").read_text(), re.MULTILINE)

    assert set(used.items()) <= set(explained)


def test_the_example_sets_what_must_be_set_and_nothing_else() -> None:
    example = (FILE.parent / ".env.example").read_text()

    assert set(re.findall(r"^([A-Z_]+)=", example, re.MULTILINE)) == ASKED_FOR.keys()


def test_the_default_settings_describe_the_stack(services: Services) -> None:
    backends = load(REPOSITORY / "settings.toml").backends

    settings = {each.name: (each.engine_name, each.url, ",".join(each.models)) for each in backends}
    stack = {
        name: (
            services[name]["container_name"],
            f"http://127.0.0.1:{services[name]['ports'][0]['published']}",
            flag(services[name], "-a"),
        )
        for name in MODELS
    }
    assert settings == stack


def test_nothing_is_published_beyond_loopback(services: Services) -> None:
    published = {(name, port["host_ip"]) for name, service in services.items() for port in service.get("ports", ())}
    on_the_host = {name for name, service in services.items() if service.get("network_mode") == "host"}

    assert published == {(name, "127.0.0.1") for name in MODELS}
    assert on_the_host == {"supervisor", "router"}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_server_is_the_official_image_with_one_slot_and_its_counters(services: Services, name: str) -> None:
    server = services[name]

    assert server["image"] == "ghcr.io/ggml-org/llama.cpp:server"
    assert flag(server, "-np") == "1"
    assert "--metrics" in server["command"]


@pytest.mark.parametrize("name", MODELS)
def test_a_model_server_reads_its_model_from_the_users_folder_and_cannot_write_there(
    services: Services, name: str
) -> None:
    server = services[name]

    mounts = [(mount["source"], mount["target"], mount["read_only"]) for mount in server["volumes"]]
    assert mounts == [(ASKED_FOR["MODELS_DIR"], "/models", True)]
    assert re.fullmatch(r"/models/\S+\.gguf", flag(server, "-m"))


def test_the_supervisor_sees_the_models_where_they_lie_on_the_host_and_cannot_write_there(services: Services) -> None:
    mounts = [(each["source"], each["target"], each.get("read_only")) for each in services["supervisor"]["volumes"]]

    assert (ASKED_FOR["MODELS_DIR"], ASKED_FOR["MODELS_DIR"], True) in mounts


def test_only_the_vision_model_has_a_projector(services: Services) -> None:
    with_projector = {name for name in MODELS if "--mmproj" in services[name]["command"]}

    assert with_projector == {"vision"}
    assert re.fullmatch(r"/models/mmproj-\S+\.gguf", flag(services["vision"], "--mmproj"))


@pytest.mark.parametrize("name", MODELS)
def test_a_model_server_comes_back_after_a_reboot_and_is_judged_by_the_supervisor_alone(
    services: Services, name: str
) -> None:
    assert services[name]["restart"] == "unless-stopped"
    assert services[name]["healthcheck"] == {"disable": True}


def test_only_the_supervisor_may_use_the_engine(services: Services) -> None:
    mounts = {name: [mount["target"] for mount in service.get("volumes", ())] for name, service in services.items()}
    holders = {name for name, targets in mounts.items() if "/var/run/docker.sock" in targets}

    assert holders == {"supervisor"}
    assert services["supervisor"]["group_add"] == [ASKED_FOR["DOCKER_GID"]]


@pytest.mark.parametrize("name", ["supervisor", "router"])
def test_our_own_containers_give_up_every_power_they_do_not_need(services: Services, name: str) -> None:
    own = services[name]

    assert own["cap_drop"] == ["ALL"]
    assert own["read_only"] is True
    assert own["security_opt"] == ["no-new-privileges:true"]


@pytest.fixture
def behind_proxy(compose: Compose) -> Services:
    """The stack where a proxy stands before the engine."""
    return replace(compose, more=[PROXY_FILE]).services()


def test_with_the_proxy_only_that_may_use_the_engine(behind_proxy: Services) -> None:
    proxy = behind_proxy["docker-proxy"]
    holders = {name for name in behind_proxy if "/var/run/docker.sock" in mounts_of(behind_proxy, name)}

    assert holders == {"docker-proxy"}
    assert (proxy["cap_drop"], proxy["read_only"], proxy["network_mode"]) == (["ALL"], True, "none")


def test_behind_the_proxy_the_supervisor_has_whatever_else_it_had(services: Services, behind_proxy: Services) -> None:
    before, after = mounts_of(services, "supervisor"), mounts_of(behind_proxy, "supervisor")

    assert before.keys() - after.keys() == {"/var/run/docker.sock"}
    assert after.keys() - before.keys() == {"/run/benchai-docker-proxy"}
    assert [target for target in before.keys() & after.keys() if before[target] != after[target]] == []


def test_the_proxy_lets_through_the_containers_of_the_stack(behind_proxy: Services) -> None:
    names = {name: service["container_name"] for name, service in behind_proxy.items()}
    expression = behind_proxy["docker-proxy"]["environment"]["CONTAINERS"]

    assert {name for name, known in names.items() if re.fullmatch(expression, known)} == set(MODELS)


def mounts_of(services: Services, name: str) -> dict[str, Any]:
    return {mount["target"]: mount for mount in services[name].get("volumes", ())}
