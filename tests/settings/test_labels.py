"""The labels of a container, held to the rules of the file and told of in the same words."""

from collections.abc import Mapping
from types import MappingProxyType

import pytest

from supervisor.errors import SettingsError
from supervisor.settings import BackendSettings, DockerSettings, Settings
from supervisor.settings_labels import NO_SECRETS, PREFIX, admit, backend, is_enabled

LABEL = f"{PREFIX}enable"
DOORS = {8080: "http://127.0.0.1:8091"}
FREE = {8080: "http://127.0.0.1:1"}
OUR_PORT = "container benchai-x: cannot be watched beside http.port = 8090, which then is the port"
NO_PORT = "port = (missing): it publishes no port; name the one inside the container that the server listens on"


def said(
    labels: Mapping[str, str] = MappingProxyType({}),
    *,
    doors: Mapping[int, str] = DOORS,
    address: str = "",
    exposed: tuple[int, ...] = (),
) -> BackendSettings:
    told = {LABEL: "true", **{f"{PREFIX}{key}": value for key, value in labels.items()}}
    return backend("benchai-x", told, label=LABEL, doors=doors, address=address, exposed=exposed)


def refused(labels: Mapping[str, str], doors: Mapping[int, str] = DOORS) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        said(labels, doors=doors)
    return str(raised.value).replace(f"container benchai-x: label {PREFIX}", "").splitlines()


def test_a_container_that_says_nothing_but_that_it_wants_it_is_watched_under_its_own_name() -> None:
    wanted = said()

    assert (wanted.name, wanted.container, wanted.engine) == ("benchai-x", "benchai-x", "docker")
    assert (wanted.url, wanted.models) == ("http://127.0.0.1:8091", ("benchai-x",))


def test_labels_say_what_keys_of_the_file_say() -> None:
    wanted = said(
        {
            "name": "planner",
            "models": "planner, research,",
            "canary": "embeddings",
            "sleeps_after_s": "300",
            "gpu_group": "gpu0",
            "gpu_exclusive": "true",
            "canary_max_tokens": "2",
            "error_patterns": "^no, never",
            "errors_of": "benchai",
            "policy.hung_after_s": "12.5",
            "policy.budget_restarts": "3",
        }
    )

    assert (wanted.name, wanted.models, wanted.canary) == ("planner", ("planner", "research"), "embeddings")
    assert (wanted.sleeps_after_s, wanted.gpu_exclusive, wanted.canary_max_tokens) == (300.0, True, 2)
    assert (wanted.error_patterns, wanted.errors_of) == (("^no, never",), ("benchai",))
    assert wanted.policy.model_dump(exclude_unset=True) == {"hung_after_s": 12.5, "budget_restarts": 3}


def test_a_stand_in_has_the_aliases_of_the_other() -> None:
    assert said({"stands_in_for": "general"}).models == ()


@pytest.mark.parametrize(
    ("doors", "address", "exposed", "labels", "url"),
    [
        pytest.param({}, "172.17.0.5", (), {"port": "8080"}, "http://172.17.0.5:8080", id="not-published"),
        pytest.param({}, "172.17.0.5", (9000,), {}, "http://172.17.0.5:9000", id="the-only-one-exposed"),
        pytest.param(DOORS, "172.17.0.5", (8080, 9000), {}, "http://127.0.0.1:8091", id="the-only-one-published"),
        pytest.param({**DOORS, 9: "http://127.0.0.1:99"}, "", (), {"port": "9"}, "http://127.0.0.1:99", id="named"),
        pytest.param(DOORS, "", (), {"url": "http://general:8080"}, "http://general:8080", id="said-outright"),
    ],
)
def test_a_container_is_asked_where_it_can_be_reached(
    doors: dict[int, str], address: str, exposed: tuple[int, ...], labels: dict[str, str], url: str
) -> None:
    assert said(labels, doors=doors, address=address, exposed=exposed).url == url


@pytest.mark.parametrize(
    ("doors", "labels", "told"),
    [
        (
            {},
            {},
            NO_PORT,
        ),
        ({**DOORS, 9: "http://127.0.0.1:99"}, {}, "port = (missing): it has the ports 8080, 9; name the one"),
        (DOORS, {"port": "http"}, 'port = "http": must be a port inside the container, e.g. 8080'),
        (DOORS, {"port": "0"}, 'port = "0": must be a port inside the container'),
        ({}, {"port": "8080"}, 'port = "8080": is not published, and the container has no address yet'),
        (DOORS, {"policy.hung_after_s": "soon"}, 'policy.hung_after_s = "soon": must be a number'),
        (
            DOORS,
            {"policy.hang_after_s": "9"},
            'policy.hang_after_s = "9": is not a key we know; did you mean hung_after_s?',
        ),
        (
            DOORS,
            {"canary": "picture"},
            "canary = \"picture\": must be one of 'chat', 'completion', 'embeddings' or 'vision'",
        ),
        (DOORS, {"name": "two words"}, 'name = "two words": may hold letters, digits, _ . and -'),
        (DOORS, {"modles": "x"}, 'modles = "x": is not a key for labels; did you mean models?'),
        (DOORS, {"zzz": "x"}, 'zzz = "x": is not a key for labels; there are name, url, port'),
        (DOORS, {"container": "other"}, 'container = "other": is not a key for labels'),
        (DOORS, {"command": "rm -rf"}, 'command = "rm -rf": is not a key for labels'),
    ],
)
def test_what_is_wrong_is_told_with_the_label_and_the_cure(
    doors: dict[int, str], labels: dict[str, str], told: str
) -> None:
    (line,) = refused(labels, doors)

    assert line.startswith(told)


def test_a_secret_has_no_place_in_a_label_and_is_not_shown() -> None:
    assert refused({"api_key": "hunter2", "api_key_env": "PATH"}) == [
        f"api_key = (hidden): {NO_SECRETS}",
        f"api_key_env = (hidden): {NO_SECRETS}",
    ]


def test_each_thing_that_is_wrong_is_told_at_once() -> None:
    assert len(refused({"modles": "x", "canary": "picture", "policy.hung_after_s": "soon"}, {})) == 4


@pytest.mark.parametrize(("value", "wants"), [("true", True), ("True", True), (" true ", True), ("false", False)])
def test_whether_a_container_wants_to_be_watched(value: str, wants: bool) -> None:
    assert is_enabled("x", {LABEL: value}, label=LABEL) is wants
    assert not is_enabled("x", {}, label=LABEL)


def test_whoever_says_neither_yes_nor_no_is_told_so() -> None:
    with pytest.raises(
        SettingsError, match=r'^container x: label benchai.supervisor.enable = "yes": must be true or false$'
    ):
        is_enabled("x", {LABEL: "yes"}, label=LABEL)


def test_another_label_in_our_prefix_may_be_the_one_that_counts() -> None:
    label = f"{PREFIX}staging"

    assert backend("x", {label: "true"}, label=label, doors=DOORS, address="", exposed=()).name == "x"


FILE = Settings(
    docker=DockerSettings(discover=True),
    backends=(
        BackendSettings(name="general", url="http://127.0.0.1:8091", models=("general",), container="benchai-general"),
    ),
)


def clash(labels: Mapping[str, str]) -> str:
    with pytest.raises(SettingsError) as raised:
        admit(FILE, said(labels, doors=FREE))
    return str(raised.value)


def test_one_that_disturbs_nobody_is_admitted() -> None:
    assert [each.name for each in admit(FILE, said(doors=FREE)).backends] == ["general", "benchai-x"]


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (
            {"name": "general"},
            f'container benchai-x: label {PREFIX}name = "general": is the name of another target too',
        ),
        (
            {"url": "http://localhost:8091"},
            f'container benchai-x: label {PREFIX}url = "http://localhost:8091": leads to the same server as',
        ),
        (
            {"url": "127.0.0.1:8091"},
            f'container benchai-x: label {PREFIX}url = "127.0.0.1:8091": must begin with http://',
        ),
        (
            {"stands_in_for": "nobody"},
            f'container benchai-x: label {PREFIX}stands_in_for = "nobody": must name a backend',
        ),
        (
            {"policy.tick_s": "0.1"},
            f"container benchai-x: label {PREFIX}policy.close_tick_s = 1.0: must not exceed tick_s",
        ),
        (
            {"url": "http://127.0.0.1:8090"},
            OUR_PORT,
        ),
    ],
)
def test_one_that_would_contradict_what_is_there_is_not_admitted(labels: dict[str, str], told: str) -> None:
    assert clash(labels).startswith(told)
