"""The meaning of the engine's words, its rarer ones too: written down here as engines of several ages say them."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from supervisor.core.observations import Life
from supervisor.engines.docker_state import (
    LONGEST_GRACE_S,
    MEMORY_EVENTS,
    ContainerEvent,
    Memory,
    is_told_to_end,
    read_container,
    read_event,
    was_asked_to_end,
)

ID = "4f1e" * 16
STARTED = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
LIFE_S = 3600.0
ENDED_AT = STARTED.timestamp() + LIFE_S
NEVER = "0001-01-01T00:00:00Z"


def written(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S}.123456789Z"


def container(*, policy: str = "no", **state: Any) -> Mapping[str, Any]:
    usual = {
        "Status": "exited",
        "Running": False,
        "Pid": 0,
        "ExitCode": 0,
        "OOMKilled": False,
        "Error": "",
        "StartedAt": written(STARTED),
        "FinishedAt": written(STARTED + timedelta(seconds=LIFE_S)),
    }
    return {"Id": ID, "State": usual | state, "HostConfig": {"RestartPolicy": {"Name": policy}}}


def event(action: str, before_end_s: float, *, signal: int | None = None, about: str = ID) -> ContainerEvent:
    return ContainerEvent(id=about, names=("general",), action=action, at=ENDED_AT - before_end_s, signal=signal)


def memory(*events: ContainerEvent, keeps_containers: bool = False) -> Memory:
    return Memory(events=(event("start", LIFE_S), *events), keeps_containers=keeps_containers)


@pytest.mark.parametrize(
    ("given", "uses"),
    [
        ({}, False),
        ({"Privileged": True}, None),
        ({"Privileged": True, "Runtime": "nvidia"}, True),
        ({"DeviceRequests": [{"Driver": "nvidia"}]}, True),
        ({"Devices": [{"PathOnHost": "/dev/kfd"}]}, True),
        ({"Devices": [{"PathOnHost": "/dev/fuse"}]}, False),
    ],
    ids=str,
)
def test_whether_it_has_a_gpu_is_known_but_of_one_that_has_every_device(
    given: dict[str, Any], *, uses: bool | None
) -> None:
    running = dict(container(Status="running", Running=True))
    running["HostConfig"] = {**running["HostConfig"], **given}

    assert read_container(running, now=ENDED_AT).uses_gpu is uses


def test_a_running_container_is_read_whole() -> None:
    running = container(Status="running", Running=True, Pid=4121, FinishedAt=NEVER)

    seen = read_container(running, now=STARTED.timestamp() + 60)

    assert (seen.life, seen.pid, seen.exit_code, seen.ended_at) == (Life.RUNNING, 4121, None, None)
    assert seen.instance == "4f1e4f1e4f1e@2026-11-23T12:00:00.123Z"
    assert seen.started_at == "2026-11-23T12:00:00.123Z"
    assert seen.age_s == pytest.approx(60, abs=0.2)


@pytest.mark.parametrize(
    ("policy", "told"), [("no", None), ("", None), ("unless-stopped", "unless-stopped"), ("on-failure", "on-failure")]
)
def test_a_policy_by_which_the_engine_restarts_it_too_is_told(policy: str, told: str | None) -> None:
    running = container(policy=policy, Status="running", Running=True, Pid=4121)

    assert read_container(running, now=ENDED_AT).restart_policy == told


def test_an_earlier_end_is_none_of_a_running_containers_business() -> None:
    running = container(Status="running", Running=True, Pid=4121)

    assert read_container(running, now=ENDED_AT).ended_at is None


def test_a_clock_set_back_makes_no_negative_age() -> None:
    running = container(Status="running", Running=True, Pid=4121)

    assert read_container(running, now=STARTED.timestamp() - 60).age_s == 0


def test_an_exited_container_is_read_whole() -> None:
    seen = read_container(container(ExitCode=137, OOMKilled=True), now=ENDED_AT)

    assert (seen.life, seen.pid, seen.age_s, seen.exit_code, seen.oom_killed) == (Life.EXITED, None, None, 137, True)
    assert seen.ended_at == "2026-11-23T13:00:00.123Z"


def test_times_may_have_another_zone() -> None:
    seen = read_container(container(StartedAt="2026-11-23T14:00:00.5+02:00"), now=ENDED_AT)

    assert seen.started_at == "2026-11-23T12:00:00.500Z"


@pytest.mark.parametrize(
    ("status", "life"),
    [
        ("created", Life.CREATED),
        ("dead", Life.EXITED),
        ("exited", Life.EXITED),
        ("paused", Life.PAUSED),
        ("removing", Life.EXITED),
        ("restarting", Life.RESTARTING),
        ("running", Life.RUNNING),
        ("stopped", Life.EXITED),  # Podman's
    ],
)
def test_every_status_is_a_life(status: str, life: Life) -> None:
    assert read_container(container(Status=status), now=ENDED_AT).life is life


@pytest.mark.parametrize(
    ("words", "variables"),
    [
        pytest.param(["llama-server", "--sleep-idle-seconds", "300"], [], id="a flag"),
        pytest.param(["sh", "-c", "llama-server --sleep-idle-seconds=300"], [], id="a flag in a line for the shell"),
        pytest.param(["llama-server"], ["TOKEN=secret", "LLAMA_ARG_SLEEP_IDLE_SECONDS=300"], id="a variable"),
    ],
)
def test_a_container_is_known_to_sleep_by_its_command_or_its_environment(
    words: list[str], variables: list[str]
) -> None:
    sleeper = {**container(), "Path": words[0], "Args": words[1:], "Config": {"Env": variables}}

    assert read_container(sleeper, now=ENDED_AT).sleep_idle_s == 300.0


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({}, id="nothing is said"),
        pytest.param({"Path": "", "Args": None, "Config": None}, id="null"),
        pytest.param({"Path": "llama-server", "Args": [], "Config": {"Env": None}}, id="no environment"),
        pytest.param({"Config": {"Env": ["LLAMA_ARG_SLEEP_IDLE_SECONDS"]}}, id="a variable that is taken away"),
    ],
)
def test_a_container_that_is_not_told_to_sleep_is_not_known_to(more: Mapping[str, Any]) -> None:
    assert read_container({**container(), **more}, now=ENDED_AT).sleep_idle_s is None


def test_a_start_that_failed_is_told_with_its_exit_code_and_makes_no_instance() -> None:
    failed = container(Status="created", StartedAt=NEVER, FinishedAt=NEVER, ExitCode=128, Error="port is taken")

    seen = read_container(failed, now=ENDED_AT)

    assert (seen.instance, seen.exit_code, seen.detail) == (None, 128, "port is taken")


def test_what_the_engine_quotes_of_a_command_line_is_told_without_its_secrets() -> None:
    words = 'exec: "llama-server --api-key hush --port 80": executable file not found in $PATH'
    failed = container(Status="created", StartedAt=NEVER, FinishedAt=NEVER, ExitCode=127, Error=words)

    seen = read_container(failed, now=ENDED_AT)

    assert seen.detail == words.replace("hush", "***")


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([("kill", 0.1, 15), ("die", 0.0, None), ("stop", -0.1, None)], id="stopped, engine 20.10"),
        pytest.param([("kill", 0.1, 15), ("stop", 0.0, None), ("die", -0.1, None)], id="stopped, engine 26"),
        pytest.param([("kill", 10.0, 15), ("kill", 0.1, 9), ("die", 0.0, None)], id="stopped the hard way"),
        pytest.param([("kill", 0.1, 9), ("die", 0.0, None)], id="killed"),
        pytest.param([("kill", LONGEST_GRACE_S - 1, 15), ("die", 0.0, None)], id="went after a long grace"),
        pytest.param(
            [("die", 0.0, None), ("stop", -30.0, None)], id="stopped between two restarts of the engine's own"
        ),
    ],
)
def test_an_end_that_somebody_asked_for(events: list[tuple[str, float, int | None]]) -> None:
    asked = memory(*(event(action, before_s, signal=signal) for action, before_s, signal in events))

    assert was_asked_to_end(container(), asked)


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([], id="the engine has forgotten"),
        pytest.param([("die", 0.0, None)], id="crashed"),
        pytest.param([("oom", 0.1, None), ("die", 0.0, None)], id="out of memory"),
        pytest.param([("kill", 0.1, 1), ("die", 0.0, None)], id="crashed after a reload"),
        pytest.param([("kill", LONGEST_GRACE_S + 1, 15), ("die", 0.0, None)], id="ignored a stop long ago"),
        pytest.param([("kill", LIFE_S + 1, 15), ("stop", LIFE_S + 1, None)], id="stopped in an earlier life"),
    ],
)
def test_an_end_that_nobody_asked_for(events: list[tuple[str, float, int | None]]) -> None:
    remembered = memory(*(event(action, before_s, signal=signal) for action, before_s, signal in events))

    assert not was_asked_to_end(container(ExitCode=1), remembered)


def test_a_stop_of_another_container_says_nothing_about_this_one() -> None:
    remembered = memory(event("kill", 0.1, signal=15, about="beef" * 16))

    assert not was_asked_to_end(container(), remembered)


def test_a_reload_signal_that_ended_it_was_a_request() -> None:
    assert was_asked_to_end(container(ExitCode=129), memory(event("kill", 0.1, signal=1)))


@pytest.mark.parametrize("policy", ["always", "unless-stopped"])
def test_what_the_engine_would_bring_back_by_itself_was_stopped_by_hand(policy: str) -> None:
    assert was_asked_to_end(container(policy=policy, ExitCode=1), memory())


def test_what_the_engine_failed_to_bring_back_was_not_stopped_by_hand() -> None:
    failed = container(policy="always", ExitCode=128, Error="port is already allocated")

    assert not was_asked_to_end(failed, memory())


def test_an_end_whose_restart_was_refused_was_no_stop_by_hand() -> None:
    failed = container(ExitCode=128, Error="port is already allocated")

    assert not was_asked_to_end(failed, memory(event("kill", 0.1, signal=15), event("stop", -0.1)))


ALIVE: Mapping[str, Any] = {"Status": "running", "Running": True, "Pid": 4121, "FinishedAt": NEVER}


@pytest.mark.parametrize(
    ("events", "is_told"),
    [
        pytest.param([("kill", 5.0, 15)], True, id="in its grace"),
        pytest.param([("kill", 30.0, 15), ("kill", 1.0, 9)], True, id="killed"),
        pytest.param([], False, id="nobody said anything"),
        pytest.param([("kill", 5.0, 1)], False, id="a reload"),
        pytest.param([("kill", LONGEST_GRACE_S + 1, 15)], False, id="it has ignored that"),
        pytest.param([("kill", LIFE_S + 5, 15), ("stop", LIFE_S + 1, None)], False, id="in an earlier life"),
    ],
)
def test_what_lives_is_on_its_way_out_if_somebody_has_lately_told_it_to_go(
    events: list[tuple[str, float, int | None]], is_told: bool
) -> None:
    told = tuple(event(action, before_s, signal=signal) for action, before_s, signal in events)

    assert is_told_to_end(container(**ALIVE), Memory(events=told, keeps_containers=False, asked_at=ENDED_AT)) is is_told


def test_a_policy_that_gives_up_by_itself_says_nothing() -> None:
    assert not was_asked_to_end(container(policy="on-failure", ExitCode=1), memory())


@pytest.mark.parametrize("status", ["removing", "dead"])
def test_whoever_removes_a_container_wants_it_gone(status: str) -> None:
    assert was_asked_to_end(container(Status=status), memory())


def test_a_container_that_never_ran_was_not_ended() -> None:
    assert not was_asked_to_end(container(Status="created", StartedAt=NEVER, FinishedAt=NEVER), memory())


@pytest.mark.parametrize("policy", ["no", "unless-stopped"])
def test_an_engine_that_stops_survivors_of_its_own_crash_is_no_operator(policy: str) -> None:
    young = Memory(events=(event("kill", 0.1, signal=15), event("stop", 0.0)), keeps_containers=False)

    assert not was_asked_to_end(container(policy=policy), young)


def test_an_engine_whose_containers_survive_it_stops_none_at_its_start() -> None:
    young = Memory(events=(event("kill", 0.1, signal=15), event("stop", 0.0)), keeps_containers=True)

    assert was_asked_to_end(container(), young)


def test_an_engine_that_has_forgotten_the_start_may_well_have_been_asked_to_stop_it() -> None:
    checks = [event("exec_start", 60.0)] * MEMORY_EVENTS
    old = Memory(events=(*checks, event("kill", 0.1, signal=15))[-MEMORY_EVENTS:], keeps_containers=False)

    assert was_asked_to_end(container(), old)


def test_a_rename_is_an_event_of_both_names() -> None:
    renamed = read_event(
        {
            "Action": "rename",
            "timeNano": 1795449911556642000,
            "Actor": {"ID": ID, "Attributes": {"name": "planner", "oldName": "/general"}},
        }
    )

    assert renamed.names == ("planner", "general")
    assert renamed.at == pytest.approx(1795449911.556642)
    assert str(renamed) == "rename"


@pytest.mark.parametrize(
    ("attributes", "words"),
    [({"signal": "15"}, "kill (signal 15)"), ({"exitCode": "137"}, "kill (exit code 137)"), ({}, "kill")],
)
def test_an_event_can_be_put_into_a_log(attributes: dict[str, str], words: str) -> None:
    read = read_event({"Action": "kill", "timeNano": 0, "Actor": {"ID": ID, "Attributes": attributes}})

    assert str(read) == words


def test_an_event_with_nothing_in_it_is_harmless() -> None:
    assert read_event({}) == ContainerEvent(id="", names=(), action="", at=0.0)
