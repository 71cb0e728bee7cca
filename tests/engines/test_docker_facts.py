"""What is told of a container for the record, out of inspections as engines answer them."""

import json
import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.engines.docker_facts import is_detached, read_facts, read_top
from tests.engines.inspections import GENERAL, ID, IMAGE_ID, NETWORK_ID, NEVER, TOP, exited, inspection

MARK = "Zq7"  # in no word but a secret
SECRETS = st.text(st.characters(exclude_characters="\0"), max_size=20).map(lambda text: f"{MARK}{text}{MARK}")
NAMES = st.from_regex(r"[A-Z_][A-Z0-9_]{0,20}", fullmatch=True)
FLAGS = st.sampled_from(["--api-key", "--hf-token", "-hft", "--ssl-password", "--client-secret"])


def test_a_running_server_is_told_as_it_was_made_and_as_it_is() -> None:
    assert read_facts(GENERAL) == {
        "engine": "docker",
        "id": ID,
        "image": "ghcr.io/ggml-org/llama.cpp:server",
        "image_id": IMAGE_ID,
        "created_at": "2026-11-23T11:58:01.123Z",
        "started_at": "2026-11-23T11:58:02.123Z",
        "state": "running",
        "oom_killed": False,
        "restarts_by_engine": 2,
        "command": [
            "/app/llama-server",
            *("-m", "/models/phi-3.gguf", "--host", "0.0.0.0", "--port", "8080", "--api-key", "***", "-np", "1"),
        ],
        "working_dir": "/app",
        "environment": ["LLAMA_ARG_API_KEY", "LLAMA_ARG_MMPROJ", "PATH"],
        "limits": {
            "memory_bytes": 8589934592,
            "memory_and_swap_bytes": 17179869184,
            "cpus": 2.5,
            "shared_memory_bytes": 67108864,
        },
        "restart_policy": {"name": "unless-stopped", "max_retries": 0},
        "ports": [{"container": "8080/tcp", "address": "127.0.0.1", "port": "8091"}],
        "mounts": [
            {"kind": "bind", "source": "/srv/models", "destination": "/models", "mode": "ro"},
            {
                "kind": "volume",
                "source": "/var/lib/docker/volumes/benchai_cache/_data",
                "destination": "/models/cache",
                "mode": "rw",
            },
        ],
        "network_mode": "benchai_default",
        "networks": ["benchai_default"],
        "health": {"word": "healthy", "failures": 0},
        "gpus": [{"driver": "nvidia", "count": 1, "capabilities": [["gpu"]]}],
        "devices": ["/dev/dri"],
        "runtime": "runc",
    }


def test_neither_secrets_nor_users_words_are_told() -> None:
    told = json.dumps(read_facts(GENERAL))

    assert "hush" not in told
    assert "a user's words" not in told


def test_an_ended_server_is_told_with_its_end() -> None:
    facts = read_facts(inspection(State=exited(ExitCode=137, OOMKilled=True)))

    assert (facts["state"], facts["exit_code"], facts["oom_killed"]) == ("exited", 137, True)
    assert facts["ended_at"] == "2026-11-23T12:30:00.000Z"


def test_a_start_that_failed_is_told_in_the_engines_words_without_the_secret_that_they_quote() -> None:
    error = 'exec: "llama-server --api-key hush": executable file not found in $PATH'
    failed = exited(Status="created", StartedAt=NEVER, FinishedAt=NEVER, ExitCode=127, Error=error)

    facts = read_facts(inspection(State=failed))

    assert facts["error"].startswith('exec: "llama-server --api-key ***')
    assert "hush" not in facts["error"]
    assert "started_at" not in facts


def test_an_engine_that_leaves_out_nearly_everything_is_read_as_well() -> None:
    bare = {"Id": ID, "State": {"Status": "created", "Running": False}, "HostConfig": None, "Mounts": None}

    assert read_facts(bare) == {"engine": "docker", "id": ID, "state": "created", "oom_killed": False, "command": [""]}


def test_no_list_is_longer_than_a_record_can_bear() -> None:
    variables = [f"NAME_{number}=hush" for number in range(10_000)]
    ports = {f"{number}/tcp": [{"HostIp": "", "HostPort": str(number)}] for number in range(1, 10_000)}
    crowded = inspection(Config={"Env": variables}, HostConfig={"PortBindings": ports}, Args=["-v"] * 10_000)

    assert len(json.dumps(read_facts(crowded))) < 20_000


@given(
    variables=st.dictionaries(NAMES, SECRETS, max_size=5),
    flag=FLAGS,
    secret=SECRETS,
    manner=st.sampled_from(["apart", "joined", "within a line"]),
)
def test_no_secret_of_the_environment_or_of_the_command_is_ever_told(
    variables: dict[str, str], flag: str, secret: str, manner: str
) -> None:
    arguments = {
        "apart": ["-m", "/models/phi-3.gguf", flag, secret, "--port", "8080"],
        "joined": ["-m", "/models/phi-3.gguf", f"{flag}={secret}"],
        "within a line": ["-c", shlex.join(["llama-server", flag, secret, "-np", "1"])],
    }[manner]
    environment = [f"{name}={value}" for name, value in variables.items()]

    facts = read_facts(inspection(Args=arguments, Config={"Env": environment, "Cmd": arguments, "Entrypoint": None}))

    assert MARK not in json.dumps(facts)
    assert facts.get("environment", []) == sorted(variables)


def networks(**endpoints: Any) -> dict[str, Any]:
    return {"NetworkSettings": {"Networks": endpoints}}


JOINED = {"NetworkID": NETWORK_ID, "EndpointID": "e4d0" * 16}
LEFT = {"NetworkID": NETWORK_ID, "EndpointID": ""}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param(networks(benchai_default=JOINED), False, id="on its network"),
        pytest.param(networks(), True, id="on none"),
        pytest.param(networks(benchai_default=LEFT), True, id="without an endpoint"),
        pytest.param(networks(benchai_default=None), True, id="null"),
        pytest.param(networks(benchai_default=LEFT, other=JOINED), False, id="on another"),
        pytest.param({**networks(), "HostConfig": {"NetworkMode": "none"}}, False, id="made for none"),
        pytest.param({**networks(), "HostConfig": {"NetworkMode": "host"}}, False, id="made for the host's"),
        pytest.param({**networks(), "HostConfig": {"NetworkMode": f"container:{ID}"}}, False, id="made for another's"),
        pytest.param({**networks(), "HostConfig": {"NetworkMode": "hosting"}}, True, id="a name that begins so"),
        pytest.param({**networks(), "Config": {"NetworkDisabled": True}}, False, id="network switched off"),
        pytest.param({**networks(), "State": exited()}, False, id="not running"),
        pytest.param({**networks(), "State": {"Restarting": True}}, False, id="between two tries of the engine"),
    ],
)
def test_detached_is_who_runs_on_no_network_and_was_made_to_be_on_one(changes: dict[str, Any], expected: bool) -> None:
    assert is_detached(inspection(**changes)) is expected


def test_processes_are_told_by_their_names_and_not_by_their_command_lines() -> None:
    assert read_top(TOP) == [
        {"pid": 4121, "name": "llama-server", "state": "Ssl", "cpu_s": 3723.0, "memory_bytes": 2_097_152_000},
        {"pid": 4188, "name": "tmux: server", "state": "D", "cpu_s": 86_407.0, "memory_bytes": 0},
    ]


@pytest.mark.parametrize(
    "top",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"Titles": None, "Processes": None}, id="null"),
        pytest.param({"Titles": ["USER", "COMMAND"], "Processes": [["root", "sh"]]}, id="no numbers"),
        pytest.param({"Titles": ["PID", "TIME"], "Processes": [["x", "y"]]}, id="garbage"),
    ],
)
def test_a_table_of_another_kind_tells_of_no_processes(top: dict[str, Any]) -> None:
    assert read_top(top) == []


@pytest.mark.parametrize(("time", "cpu_s"), [("00:07", 7.0), ("1:00:00", 3600.0), ("x", None), ("1:2:3:4", None)])
def test_cpu_time_is_told_where_it_can_be_read(time: str, cpu_s: float | None) -> None:
    told = read_top({"Titles": ["PID", "TIME"], "Processes": [["1", time]]})

    assert told == [{"pid": 1} | ({} if cpu_s is None else {"cpu_s": cpu_s})]
