"""What an engine's own words tell, and that all other words tell nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.cause import MOST_SAID, Cause
from supervisor.core.cause_engine import read_engine
from supervisor.core.diagnose import refused

CONTAINER = "3e3708bb1a12a082eb9c11ba6d64c1bb69820e583c7b15a7396e592b5f9a1503"
OCI = "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: "
# Docker 20.10 as recorded here unless it says otherwise.
WORDS = [
    (
        "driver failed programming external connectivity on endpoint general (296ad95b): Bind for 127.0.0.1:8091"
        " failed: port is already allocated",
        Cause.PORT_TAKEN,
        "127.0.0.1:8091 is taken by another container",
    ),
    (
        "driver failed programming external connectivity on endpoint general (b38e98fe): Error starting userland proxy:"
        " listen tcp4 127.0.0.1:8091: bind: address already in use",
        Cause.PORT_TAKEN,
        "127.0.0.1:8091 is taken",
    ),
    (  # Docker 28
        "failed to set up container networking: driver failed programming external connectivity on endpoint general"
        " (f8a30e4f): failed to bind host port for 0.0.0.0:8000:172.31.0.2:8000/tcp: address already in use",
        Cause.PORT_TAKEN,
        "0.0.0.0:8000 is taken",
    ),
    (  # Docker 29
        "failed to bind host port 127.0.0.1:8091/tcp: address already in use",
        Cause.PORT_TAKEN,
        "127.0.0.1:8091 is taken",
    ),
    ("Ports are not available: exposing port TCP 0.0.0.0:8091", Cause.PORT_TAKEN, "its port is taken"),
    ("No such image: llama.cpp:server", Cause.IMAGE_MISSING, "there is no image llama.cpp:server"),
    (
        "pull access denied for llama/server, repository does not exist or may require 'docker login'",
        Cause.IMAGE_MISSING,
        "the image llama/server cannot be had",
    ),
    (
        "manifest for llama.cpp:nope not found: manifest unknown",
        Cause.IMAGE_MISSING,
        "there is no image llama.cpp:nope",
    ),
    ("network ai-net not found", Cause.NETWORK_DETACHED, "its network ai-net does not exist"),
    (f"No such container: {CONTAINER}", Cause.NETWORK_DETACHED, "network it shares is gone: 3e3708bb1a12"),
    (
        f"cannot join network of a non running container: {CONTAINER}",
        Cause.NETWORK_DETACHED,
        "network it shares does not run: 3e3708bb1a12",
    ),
    (
        'could not select device driver "" with capabilities: [[gpu]]',
        Cause.GPU_LOST,
        "the engine has no driver for GPUs",
    ),
    (
        'could not select device driver "nvidia" with capabilities: [[gpu]]',
        Cause.GPU_LOST,
        "the engine has no driver for GPUs",
    ),
    (
        'error gathering device information while adding custom device "/dev/nvidia0": no such file or directory',
        Cause.GPU_LOST,
        "there is no /dev/nvidia0",
    ),
    (
        'error gathering device information while adding custom device "/dev/ttyUSB0": no such file or directory',
        Cause.BAD_FLAG,
        "there is no device /dev/ttyUSB0",
    ),
    (  # NVIDIA/nvidia-docker#1629
        "OCI runtime create failed: container_linux.go:380: starting container process caused: process_linux.go:545:"
        " container init caused: Running hook #0:: error running hook: exit status 1, stdout: , stderr:"
        " nvidia-container-cli: initialization error: nvml error: driver not loaded: unknown",
        Cause.GPU_LOST,
        "no GPU for it: initialization error: nvml error: driver not loaded",
    ),
    (
        'invalid mount config for type "bind": bind source path does not exist: /srv/models',
        Cause.MODEL_MISSING,
        "a mounted path does not exist: /srv/models",
    ),
    (  # Mintplex-Labs/anything-llm#1337
        OCI + 'error during container init: error mounting "/mnt/d/env" to rootfs at "/app/.env": mount'
        " /mnt/d/env:/app/.env (via /proc/self/fd/6), flags: 0x5000: not a directory: unknown",
        Cause.MODEL_MISSING,
        "/mnt/d/env cannot be mounted",
    ),
    (
        OCI + 'exec: "/no/such": stat /no/such: no such file or directory: unknown',
        Cause.BAD_FLAG,
        "there is no program /no/such in its image",
    ),
    (
        OCI + 'exec: "nosuch": executable file not found in $PATH: unknown',
        Cause.BAD_FLAG,
        "there is no program nosuch in its image",
    ),
    (OCI + 'exec: "/srv": permission denied: unknown', Cause.BAD_FLAG, "/srv is no program that may be run"),
    (OCI + 'exec: "/srv/x": exec format error: unknown', Cause.BAD_FLAG, "made for another kind of processor"),
    ("write /var/lib/docker/x: no space left on device", Cause.UNKNOWN, "the host's disk is full"),
    (
        "did not start general: cannot run 'llama-server': [Errno 2] No such file or directory: 'llama-server'; install"
        " it, or give its full path in `command`",
        Cause.BAD_FLAG,
        "its program llama-server cannot be run",
    ),
    (
        "did not start general: cannot run './serve': its working directory /srv/gone does not exist",
        Cause.BAD_FLAG,
        "its working directory /srv/gone does not exist",
    ),
    (
        "Cannot restart container general: tried to kill container, but did not receive an exit event",
        Cause.HUNG,
        "it cannot be killed",
    ),
    (
        "cannot stop general: still there 5s after SIGKILL (pid 7); either it runs as a user that we may not signal",
        Cause.HUNG,
        "it cannot be killed",
    ),
    (
        "Docker did not start general: no answer at unix:///var/run/docker.sock: connection refused; is the engine"
        " running, and is docker.host right?",
        Cause.ENGINE_LOST,
        "its engine does not answer",
    ),
    (
        "Docker did not inspect general within 5s; the engine hangs, or the container is stuck",
        Cause.ENGINE_LOST,
        "its engine does not answer",
    ),
]


@pytest.mark.parametrize(("words", "cause", "says"), WORDS)
def test_an_engines_words_tell_what_was_wrong(words: str, cause: Cause, says: str) -> None:
    finding = read_engine(words)

    assert finding is not None
    assert finding.cause is cause
    assert says in finding.says
    assert finding.cure


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            OCI + 'exec: "llama-server --api-key hush --port 80": executable file not found in $PATH: unknown',
            "there is no program llama-server in its image",
        ),
        (OCI + 'exec: "llama-server --api-key hush": permission denied', "llama-server is no program that may be run"),
        (OCI + 'exec: "API_KEY=hush llama-server": stat API_KEY', "there is no program API_KEY in its image"),
        (OCI + 'exec: "llama-server --api-key ***', "its program llama-server cannot be run"),
        ("cannot run 'llama-server --api-key hush': [Errno 2] No such file", "its program llama-server cannot be run"),
        (
            "cannot run 'llama-server --api-key hush': its working directory /srv/gone does not exist",
            "its working directory /srv/gone does not exist",
        ),
    ],
)
def test_of_a_command_line_that_stands_in_place_of_a_program_its_first_word_is_told(words: str, says: str) -> None:
    finding = read_engine(words)

    assert finding is not None
    assert (finding.cause, finding.says) == (Cause.BAD_FLAG, says)
    assert "hush" not in finding.cure


@pytest.mark.parametrize("words", ["", "killed by SIGSEGV", "being removed by somebody", "No such container: general"])
def test_other_words_tell_nothing(words: str) -> None:
    assert read_engine(words) is None


def test_words_that_are_too_long_are_read_at_both_ends() -> None:
    words = "network ai-net not found"

    assert read_engine(words + "x" * 5000) is not None
    assert read_engine("x" * 5000 + " " + words) is not None
    assert read_engine("x" * 5000 + " " + words + " " + "x" * 5000) is None


@given(st.lists(st.one_of(st.sampled_from([words for words, _, _ in WORDS]), st.text(max_size=40)), max_size=4))
def test_whatever_an_engine_says_is_read_without_trouble(words: list[str]) -> None:
    finding = read_engine(" ".join(words))

    assert finding is None or (len(finding.says) <= MOST_SAID and finding.says.isprintable())


def test_a_refusal_of_our_call_is_a_diagnosis_where_its_words_tell_something() -> None:
    told = refused("Docker did not start general: Bind for 127.0.0.1:8091 failed: port is already allocated")

    assert told is not None
    assert (told.cause, told.helps_restart) == (Cause.PORT_TAKEN, False)
    assert refused("Docker did not start general: for a reason of its own") is None
