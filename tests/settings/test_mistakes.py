"""What is wrong by itself: one line each, with the file, the key, the value, and what would be right."""

import re
from pathlib import Path

import pytest

from supervisor.errors import SettingsError
from supervisor.settings import RouterSettings
from supervisor.settings_file import load
from tests.settings.texts import BACKEND, ROUTER, SECOND, complaint

UNKNOWN = [
    ("[htpp]\nport = 1", "htpp = {…}: is not a key we know; did you mean http?"),
    ("[http]\nprot = 1", "http.prot = 1: is not a key we know; did you mean port?"),
    ("[policy]\ntick = 1", "policy.tick = 1: is not a key we know; did you mean tick_s?"),
    ("[policy]\nfoo = 1", "policy.foo = 1: is not a key we know; the project's settings.toml has them all"),
    ("_env_file = '.env'", '_env_file = ".env": is not a key we know'),
]


@pytest.mark.parametrize(("text", "line"), UNKNOWN)
def test_an_unknown_key_is_refused_with_the_one_it_may_stand_for(file: Path, text: str, line: str) -> None:
    assert complaint(file, text + BACKEND) == line


NUMBERS = [
    ("[policy]\ntick_s = -1", "policy.tick_s = -1: must be greater than 0"),
    ("[policy]\nconfirm_s = 0", "policy.confirm_s = 0: must be greater than 0"),
    ("[policy]\nconfirm_s = nan", "policy.confirm_s = NaN: must be greater than 0"),
    ("[policy]\nconfirm_s = inf", "policy.confirm_s = Infinity: must be at most 31536000"),
    ("[policy]\nconfirm_s = 1e300", "policy.confirm_s = 1e+300: must be at most 31536000"),
    ("[policy]\nconfirm_s = 'soon'", 'policy.confirm_s = "soon": must be a number'),
    ("[policy]\nconfirm_s = true", "policy.confirm_s = true: must be a number"),
    ("[policy]\nconfirm_s = [1]", "policy.confirm_s = […]: must be a number"),
    ("[policy]\nfailure_threshold = 2.5", "policy.failure_threshold = 2.5: must be a whole number"),
    ("[daemon]\nvalid_for_s = -15", "daemon.valid_for_s = -15: must be greater than 0"),
    ("[http]\nport = 65536", "http.port = 65536: must be at most 65535"),
    ("[http]\nport = 'http'", 'http.port = "http": must be a whole number'),
    ("[docker]\nworkers = 0", "docker.workers = 0: must be at least 1"),
    ("[process]\nlog_max_bytes = 1", "process.log_max_bytes = 1: must be at least 4096"),
]


@pytest.mark.parametrize(("text", "line"), NUMBERS)
def test_a_number_must_make_sense(file: Path, text: str, line: str) -> None:
    assert complaint(file, text + BACKEND) == line


LEVELS = "'TRACE', 'DEBUG', 'INFO', 'WARNING' or 'ERROR'"
KINDS = [
    ("[daemon]\nlog_level = 'LOUD'", f'daemon.log_level = "LOUD": must be one of {LEVELS}'),
    ("[daemon]\nstate_dir = 7", 'daemon.state_dir = 7: must be a path in quotes: "/a/path"'),
    ("[process]\nstop_on_exit = 'maybe'", 'process.stop_on_exit = "maybe": must be true or false'),
    ("http = 5", "http = 5: must be a table: [NAME] on a line of its own, then its keys"),
    ("[docker]\nhost = ''", 'docker.host = "": must not be empty'),
]


@pytest.mark.parametrize(("text", "line"), KINDS)
def test_a_value_of_another_kind_is_refused_with_the_right_one(file: Path, text: str, line: str) -> None:
    assert complaint(file, text + BACKEND) == line


PLAIN = "must be plain ASCII without spaces or line ends: it is sent in an HTTP header"
BACKENDS = [
    ("modles = ['x']", "modles = […]: is not a key we know; did you mean models?"),
    ("policy = { tikc_s = 1 }", "policy.tikc_s = 1: is not a key we know; did you mean tick_s?"),
    ("policy = { confirm_s = -1 }", "policy.confirm_s = -1: must be greater than 0"),
    ("policy = 5", "policy = 5: must be a table: [NAME] on a line of its own, then its keys"),
    ("engine = 'podman'", "engine = \"podman\": must be one of 'docker', 'process', 'systemd' or 'none'"),
    ("engine = 'process'", 'command = []: is empty; engine = "process" needs the command to run'),
    ("command = ['run', '--api-key', 'hunter2']", 'command = […]: is only for engine = "process", not "docker"'),
    ("environment = { KEY = 'hunter2' }", 'environment = {…}: is only for engine = "process", not "docker"'),
    (
        "engine = 'process'\ncommand = ['run']\ncontainer = 'x'",
        'container = "x": is only for engine = "docker", not "process"',
    ),
    ("engine = 'none'\ncontainer = 'x'", 'container = "x": is only for engine = "docker", not "none"'),
    ("canary_max_tokens = 0", "canary_max_tokens = 0: must be at least 1"),
    (
        "progress = 'triton'",
        "progress = \"triton\": must be one of 'auto', 'llama.cpp', 'llama-cpp-python', 'vllm', 'sglang', 'tgi',"
        " 'ollama' or 'none'",
    ),
    ("canary = 'picture'", "canary = \"picture\": must be one of 'chat', 'completion', 'embeddings' or 'vision'"),
    ("errors_of = ['x']", "errors_of[0] = \"x\": must be one of 'benchai'"),
    ("sleeps_after_s = 0", "sleeps_after_s = 0: must be greater than 0"),
    (
        "error_patterns = ['fine', '(']",
        'error_patterns[1] = "(": is not a regular expression: missing ), unterminated subpattern at position 0',
    ),
    ("error_patterns = 'busy'", 'error_patterns = "busy": must be a list: ["one", "two"]'),
    ("api_key = 'hünter2'", f"api_key = (hidden): {PLAIN}"),
    ("api_key = 7", 'api_key = (hidden): must be a text in quotes: "text"'),
]


@pytest.mark.parametrize(("text", "line"), BACKENDS)
def test_what_is_wrong_with_a_backend_is_told_with_its_name(file: Path, text: str, line: str) -> None:
    assert complaint(file, BACKEND + text) == f"backends.general.{line}"


URLS = [
    ("http://", "has no host"),
    ("http://:8091", "has no host"),
    ("127.0.0.1:8091", "must begin with http:// or https://"),
    ("ftp://127.0.0.1", "must begin with http:// or https://"),
    ("", "must begin with http:// or https://"),
    ("http://127.0.0.1:99999", "is not an address (Port out of range 0-65535)"),
    ("http://127.0.0.1:eighty", "is not an address (Port could not be cast to integer value as 'eighty')"),
    ("http://[::1", "is not an address (Invalid IPv6 URL)"),
    ("http://127.0.0.1:0", "has no host and port that can be connected to"),
    ("http://my host:80", "has no host and port that can be connected to"),
    ("http://127.0.0.1:", "must be scheme, host and port alone"),
    ("http://127.0.0.1:8091/v1", "must be scheme, host and port alone"),
    ("http://127.0.0.1:8091//", "must be scheme, host and port alone"),
    ("http://127.0.0.1:8091?a=b", "must be scheme, host and port alone"),
    ("http://127.0.0.1:8091#", "must be scheme, host and port alone"),
    (" http://127.0.0.1:8091", "must be scheme, host and port alone"),
]


@pytest.mark.parametrize(("url", "cure"), URLS)
def test_a_url_is_scheme_host_and_port(file: Path, url: str, cure: str) -> None:
    line = complaint(file, BACKEND.replace("http://127.0.0.1:8091", url))

    assert line == f'backends.general.url = "{url}": {cure}; write e.g. "http://127.0.0.1:8091"'


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8091/", "HTTP://Localhost:8091", "https://[::1]:8091", "http://model_1"]
)
def test_a_good_url_is_taken(file: Path, url: str) -> None:
    file.write_text(BACKEND.replace("http://127.0.0.1:8091", url))

    assert load(file).backends[0].url == url


@pytest.mark.parametrize(("key", "example"), [("url", '"http://127.0.0.1:8091"'), ("name", '"general"')])
def test_a_missing_key_is_told_with_an_example(file: Path, key: str, example: str) -> None:
    where = "backends[1 of 1]" if key == "name" else "backends.general"

    line = complaint(file, re.sub(rf"^{key} = .*$", "", BACKEND, flags=re.MULTILINE))

    assert line == f"{where}.{key} = (missing): every target needs it; write e.g. {key} = {example}"


@pytest.mark.parametrize("name", ["-x", "a b", "", "é", "a/b", "../x"])
def test_a_name_is_what_shells_and_urls_bear(file: Path, name: str) -> None:
    line = complaint(file, SECOND + BACKEND.replace('"general"', f'"{name}"', 1))

    cure = "may hold letters, digits, _ . and -, and begins with a letter or a digit"
    assert line == f'backends[2 of 2].name = "{name}": {cure}'


def test_nobody_is_called_what_the_command_line_calls_everybody(file: Path) -> None:
    line = complaint(file, BACKEND.replace('name = "general"', 'name = "all"'))

    assert line == 'backends[1 of 1].name = "all": is what benchai-supervisorctl calls all of them; choose another'


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "backends = []: is empty; describe at least one [[backends]] with name, url and models"),
        (
            "[backends]\nname = 'general'",
            "backends = {…}: must be a list: [[backends]] in two brackets for each of them"
            " (in the environment: JSON, and whole)",
        ),
        (
            BACKEND.replace('["general"]', "[]"),
            'backends.general.models = []: is empty; write e.g. models = ["general"]',
        ),
        (
            re.sub(r"^models = .*$", "", BACKEND, flags=re.MULTILINE),
            'backends.general.models = [] (default): is empty; write e.g. models = ["general"]',
        ),
        (BACKEND.replace('["general"]', "['']"), 'backends.general.models[0] = "": must not be empty'),
        (
            BACKEND.replace('["general"]', '"general"'),
            'backends.general.models = "general": must be a list: ["one", "two"]',
        ),
    ],
)
def test_something_must_be_watched(file: Path, text: str, line: str) -> None:
    assert complaint(file, text) == line


def test_a_router_is_only_watched_and_asked_for_every_alias_of_its_backends(file: Path) -> None:
    file.write_text(BACKEND + ROUTER)
    settings = load(file)
    (router,) = settings.routers

    assert router == RouterSettings(name="router", url="http://127.0.0.1:8085", engine="none", progress="none")
    assert settings.ways_through(router) == {"general": "chat"}


def test_a_router_is_asked_for_pictures_where_a_model_sees_and_for_nothing_that_few_routers_know(file: Path) -> None:
    embeds = SECOND.replace("code", "embed") + "canary = 'embeddings'\n"
    file.write_text(f"{BACKEND}canary = 'vision'\n{embeds}{ROUTER}")
    settings = load(file)

    assert settings.ways_through(settings.routers[0]) == {"general": "vision"}


@pytest.mark.parametrize(
    ("key", "ways"), [("models = ['auto', 'code']", ["auto", "code"]), ("canary_model = 'auto'", ["auto"])]
)
def test_a_router_is_asked_for_what_is_written(file: Path, key: str, ways: list[str]) -> None:
    file.write_text(f"{BACKEND}{ROUTER}{key}\n")
    settings = load(file)

    assert list(settings.ways_through(settings.routers[0])) == ways


def test_several_mistakes_are_several_lines(file: Path) -> None:
    text = (
        f"[http]\nprot = 1\nport = -1\n[policy]\ntick_s = 0\n{BACKEND}engine = 'podman'\n{ROUTER}policy = {{ x = 1 }}"
    )

    lines = complaint(file, text).splitlines()

    assert [line.partition(" = ")[0] for line in lines] == [
        "http.port",
        "http.prot",
        "policy.tick_s",
        "backends.general.engine",
        "routers.router.policy.x",
    ]


def test_every_line_begins_with_the_file(file: Path) -> None:
    file.write_text("[http]\nport = -1\nprot = 1\n" + BACKEND)

    with pytest.raises(SettingsError) as raised:
        load(file)

    assert all(line.startswith(f"{file}: http.") for line in str(raised.value).splitlines())
