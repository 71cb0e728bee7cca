"""What no value shows by itself: one line each, at one of the places that contradict one another."""

from pathlib import Path

import pytest

from supervisor.settings_file import load
from tests.settings.texts import BACKEND, ROUTER, SECOND, complaint

ANOTHERS = "is the name of another target too; each needs its own"
DUPLICATES = [
    (BACKEND.replace("8091", "8092"), f'backends[2 of 2].name = "general": {ANOTHERS}'),
    (ROUTER.replace('"router"', '"general"'), f'routers[1 of 1].name = "general": {ANOTHERS}'),
    (
        SECOND + "container = 'general'",
        'backends.code.container = "general": is the container of backends.general too; two would fight over it',
    ),
]


@pytest.mark.parametrize(("text", "line"), DUPLICATES)
def test_what_each_target_needs_for_itself_is_told_once_where_it_stands_again(file: Path, text: str, line: str) -> None:
    assert complaint(file, BACKEND + text) == line


@pytest.mark.parametrize("kind", ["backends", "routers"])
@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8091",
        "http://127.0.0.1:8091/",
        "http://localhost:8091",
        "http://LOCALHOST:8091",
        "http://[::1]:8091",
    ],
)
def test_two_spellings_of_one_port_are_one_port(file: Path, url: str, kind: str) -> None:
    second = SECOND.replace("http://127.0.0.1:8093", url)
    second = second if kind == "backends" else ROUTER.replace("http://127.0.0.1:8085", url)
    name = "code" if kind == "backends" else "router"

    line = complaint(file, BACKEND + second)

    assert line == f'{kind}.{name}.url = "{url}": leads to the same server as backends.general.url; each needs its own'


def test_one_port_on_two_hosts_is_two_servers(file: Path) -> None:
    file.write_text(BACKEND.replace("127.0.0.1", "general") + SECOND.replace("127.0.0.1:8093", "code:8091"))

    assert len(load(file).backends) == 2


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "0.0.0.0"])
def test_our_own_port_is_nobody_elses(file: Path, host: str) -> None:
    text = f"[http]\nhost = '{host}'\nport = 8091\ntoken = 't'\n{BACKEND}"

    assert complaint(file, text) == "http.port = 8091: is the port of backends.general.url too; choose a free one"


def test_the_agents_port_is_nobody_elses_either(file: Path) -> None:
    backends = complaint(file, f"[agent]\nport = 8091\n{BACKEND}")
    http = complaint(file, f"[agent]\nport = 8090\n{BACKEND}")

    assert backends == "agent.port = 8091: is the port of backends.general.url too; choose a free one"
    assert http == "agent.port = 8090: is http.port too; choose a free one"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "myhost"])
def test_beyond_this_machine_a_token_is_needed(file: Path, host: str) -> None:
    line = complaint(file, f"[http]\nhost = '{host}'\n{BACKEND}")
    file.write_text(f"[http]\nhost = '{host}'\ntoken = 'secret'\n{BACKEND}")

    assert line == (f'http.host = "{host}": reaches beyond this machine, so http.token must be set (or use 127.0.0.1)')
    assert load(file).http.host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_on_this_machine_no_token_is_needed(file: Path, host: str) -> None:
    file.write_text(f"[http]\nhost = '{host}'\n{BACKEND}")

    assert load(file).http.host == host


CONTRADICTIONS = [
    (
        "[daemon]\nvalid_for_s = 4.9",
        "daemon.valid_for_s = 4.9: must outlive two looks, 2 x tick_s + look_timeout_s = 5",
    ),
    (
        "[policy]\ntick_s = 8",
        "daemon.valid_for_s = 15.0 (default): must outlive two looks, 2 x tick_s + look_timeout_s = 17",
    ),
    (
        "[policy]\nhung_after_s = 1.5",
        "policy.hung_after_s = 1.5: must be at least two close looks, 2 x close_tick_s = 2: one sample is no evidence",
    ),
    (
        "[policy]\nstartup_limit_s = 0.5",
        "policy.startup_limit_s = 0.5: must be at least two looks, 2 x starting_tick_s = 1",
    ),
    (
        "[policy]\ncanary_limit_s = 10",
        "policy.canary_deadline_s = 20.0 (default): must not exceed canary_limit_s (10)",
    ),
]


@pytest.mark.parametrize(("text", "line"), CONTRADICTIONS)
def test_values_that_contradict_one_another_are_told_at_one_of_them(file: Path, text: str, line: str) -> None:
    assert complaint(file, text + BACKEND + SECOND + "policy = { confirm_s = 5 }") == line


def test_a_contradiction_within_a_targets_own_policy_is_told_there(file: Path) -> None:
    lines = complaint(
        file, f"[policy]\nbackoff_max_s = 60\n{BACKEND}policy = {{ backoff_first_s = 70, canary_limit_s = 10 }}"
    )

    assert lines.splitlines() == [
        "backends.general.policy.canary_deadline_s = 20.0 (default): must not exceed canary_limit_s (10)",
        "backends.general.policy.backoff_first_s = 70.0: must not exceed backoff_max_s (60)",
    ]


@pytest.mark.parametrize("key", ["tick_s", "look_timeout_s"])
def test_a_target_looked_at_more_seldom_than_the_document_lives_is_refused(file: Path, key: str) -> None:
    policy = "{ tick_s = 7, close_tick_s = 1, look_timeout_s = 5 }" if key == "tick_s" else "{ look_timeout_s = 6 }"
    common = "" if key == "tick_s" else "[policy]\ntick_s = 6\nclose_tick_s = 1\n[daemon]\nvalid_for_s = 14\n"

    line = complaint(file, f"{common}{BACKEND}policy = {policy}")

    assert line.startswith(f"backends.general.policy.{key} = ")
    assert "is too slow: two looks, 2 x tick_s + look_timeout_s, must fit into daemon.valid_for_s" in line
    assert len(line.splitlines()) == 1


@pytest.mark.parametrize("key", ["daemon.state_dir", "daemon.liveness_file", "http.socket"])
def test_a_path_names_something(file: Path, key: str) -> None:
    section, _, name = key.partition(".")

    line = complaint(file, f"[{section}]\n{name} = ''\n{BACKEND}")

    assert line.startswith(f"{key} = ")
    assert "names nothing; write a whole path" in line


def test_several_contradictions_are_several_lines(file: Path) -> None:
    text = f"[http]\nhost = '0.0.0.0'\n[policy]\nhung_after_s = 1\n{BACKEND}{SECOND}command = ['x']"

    lines = complaint(file, text).splitlines()

    assert [line.partition(" = ")[0] for line in lines] == ["http.host", "policy.hung_after_s", "backends.code.command"]


STAND_IN = """
[[backends]]
name = "general-cpu"
url = "http://127.0.0.1:8191"
stands_in_for = "general"
"""


def test_a_stand_in_has_the_aliases_of_the_one_it_stands_in_for(file: Path) -> None:
    file.write_text(BACKEND + STAND_IN)

    settings = load(file)

    assert [settings.models_of(each) for each in settings.targets] == [("general",), ("general",)]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param(
            BACKEND + STAND_IN.replace('"general"', '"code"'),
            'backends.general-cpu.stands_in_for = "code": must name a backend that stands in for nobody itself; there'
            " are: general",
            id="for-nobody-there-is",
        ),
        pytest.param(
            BACKEND + STAND_IN.replace('"general"', '"general-cpu"'),
            'backends.general-cpu.stands_in_for = "general-cpu": must name a backend that stands in for nobody itself;'
            " there are: general",
            id="for-itself",
        ),
        pytest.param(
            BACKEND + STAND_IN + 'engine = "none"\n',
            'backends.general-cpu.stands_in_for = "general": is for targets that we may start; give it an engine',
            id="without-an-engine",
        ),
    ],
)
def test_a_stand_in_needs_somebody_to_stand_in_for_and_somebody_to_start_it(file: Path, text: str, line: str) -> None:
    assert complaint(file, text) == line


WINDOW = """
[[maintenance]]
begins = "02:00"
ends = "04:30"
"""


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param(
            WINDOW.replace("04:30", "02:00"),
            'maintenance[1 of 1].ends = "02:00:00": is when it begins too; a window that never closes is a hold'
            " (benchai-supervisorctl hold)",
            id="that-never-closes",
        ),
        pytest.param(
            WINDOW + 'targets = ["genral"]\n',
            'maintenance[1 of 1].targets[0] = "genral": is no target; there are general',
            id="for-nobody",
        ),
        pytest.param(
            WINDOW.replace('ends = "04:30"', ""),
            'maintenance[1 of 1].ends = (missing): every window needs it; write e.g. ends = "04:30"',
            id="without-an-end",
        ),
        pytest.param(
            WINDOW.replace("02:00", "2 am"),
            'maintenance[1 of 1].begins = "2 am": must be a time of day: "02:30"',
            id="in-words",
        ),
        pytest.param(
            WINDOW + 'days = ["someday"]\n',
            'maintenance[1 of 1].days[0] = "someday": must be one of'
            " 'mon', 'tue', 'wed', 'thu', 'fri', 'sat' or 'sun'",
            id="on-no-day",
        ),
    ],
)
def test_a_maintenance_window_makes_sense(file: Path, text: str, line: str) -> None:
    assert complaint(file, text + BACKEND) == line


ALONE = "gpu_exclusive = true\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param(
            ALONE,
            "backends.general.gpu_exclusive = true: is only for members of a group; name those who share its GPU,"
            ' e.g. gpu_group = "gpu0"',
            id="of-no-group",
        ),
        pytest.param(
            f'{ALONE}gpu_group = "gpu0"\nengine = "none"\n',
            "backends.general.gpu_exclusive = true: is for targets that we may stop; give it an engine",
            id="only-watched",
        ),
        pytest.param(
            'gpu_exclusive = "maybe"\n',
            'backends.general.gpu_exclusive = "maybe": must be true or false',
            id="in-words",
        ),
    ],
)
def test_whoever_must_be_alone_on_a_gpu_is_told_of_with_its_group_and_can_be_stopped(
    file: Path, text: str, line: str
) -> None:
    assert complaint(file, BACKEND + text) == line
