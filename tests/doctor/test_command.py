"""`benchai-supervisorctl doctor` and `check-config`, as they are called."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from supervisor.cli.doctor_table import lines
from supervisor.doctor.examination import Report
from supervisor.doctor.finding import Finding, error, note, ok, warning
from testbed.cache import REPOSITORY
from testbed.stack import Plan, Stack
from tests.cannot import cannot
from tests.doctor.patient import around

Ran = subprocess.CompletedProcess[str]


def ctl(*words: str, cwd: Path | None = None) -> Ran:
    """Run a command."""
    command = [sys.executable, "-m", "supervisor.cli", *words]
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=env, timeout=60)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, model: Path, engine: docker.DockerClient) -> Iterator[Stack]:
    """Four servers, a daemon and a router, all of them well."""
    folder = tmp_path_factory.mktemp("doctor")
    with Stack(folder, model, Plan(prefix=f"{folder.name}-"), client=engine) as stack:
        yield stack.start_all()


def test_on_a_healthy_stack_nothing_stands_in_the_way(stack: Stack) -> None:
    ran = stack.ctl("doctor", "--settings", str(stack.settings_file))
    document = json.loads(stack.ctl("doctor", "--settings", str(stack.settings_file), "-f", "json").stdout)

    assert ran.returncode == 0, ran.stdout
    assert ran.stdout.splitlines()[-1].startswith("nothing stands in the way (16 checks")
    assert [each for each in document["findings"] if each["severity"] in ("error", "warning")] == []
    assert {each["target"] for each in document["findings"] if each["check"] == "servers"} == set(stack.instances())
    assert document["daemon"]["pid"] == stack.pid


def test_without_being_told_it_goes_by_the_settings_that_the_daemon_runs_by(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text("[[backends]]\nname = 'another'\nurl = 'http://127.0.0.1:1'\n")
    words = ["doctor", "--server", f"unix://{stack.socket}", "-f", "json"]

    told = json.loads(ctl(*words, cwd=tmp_path).stdout)

    assert told["settings"] == str(stack.settings_file)


def test_it_asks_nobody_for_inference_and_changes_nothing(stack: Stack) -> None:
    before = stack.instances()
    asked = [stack.target(name)["restarts"] for name in before]

    stack.ctl("doctor", "--settings", str(stack.settings_file))

    assert stack.instances() == before
    assert [stack.target(name)["restarts"] for name in before] == asked


def test_a_user_without_rights_is_told_what_was_not_seen(stack: Stack) -> None:
    if os.geteuid() != 0:
        cannot("only root can become another user")
    command = [sys.executable, "-m", "tests.doctor.as_user", "65534", str(stack.settings_file)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    told = ran.stdout.splitlines()

    assert ran.returncode == 0, ran.stderr
    assert [each for each in told if "our own fault" in each] == []
    assert any(each.startswith("error -: nobody (who asks now) may not open ") for each in told)
    assert "note router: not seen: the router's process: whether it restarts model servers is not known" in told
    assert any(each.startswith("ok general: llama.cpp") for each in told)


def test_of_one_target_only_that_one_is_looked_at(stack: Stack) -> None:
    ran = stack.ctl("doctor", "code", "--settings", str(stack.settings_file), "-f", "json")

    assert {each["target"] for each in json.loads(ran.stdout)["findings"]} == {None, "code"}


def test_what_is_wrong_is_told_with_its_cure_and_the_exit_status(stack: Stack) -> None:
    other = stack.folder / "other.toml"
    other.write_text(stack.settings_file.read_text().replace(f":{stack.ports['code']}", ":1"))

    ran = stack.ctl("doctor", "--settings", str(other))

    assert ran.returncode == 1
    assert ran.stdout.startswith("error    code (ports): ")
    assert "port 1" in ran.stdout.splitlines()[0]
    assert ran.stdout.splitlines()[1].startswith("         ")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("doctor", "cod", "--settings", "{good}"), "there is no target cod; did you mean code?"),
        (("doctor", "--host", "gpu-box", "--settings", "{good}"), "doctor looks at the machine it runs on"),
        (("doctor", "-f", "xml"), "'xml' is not one of"),
    ],
)
def test_a_wrong_command_line_is_told_and_ends_with_2(tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    path = around(tmp_path, '[[backends]]\nname = "code"\nurl = "http://127.0.0.1:1"\nmodels = ["code"]\n').path

    ran = ctl(*(word.format(good=path) for word in words))

    assert ran.returncode == 2
    assert says in ran.stderr


def test_settings_that_cannot_be_used_are_told_and_nothing_else(tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text("[http]\nport = 70000\n")

    ran = ctl("doctor", "--settings", str(bad))

    assert ran.returncode == 1
    assert f"error    settings: {bad}: http.port = 70000" in ran.stdout
    assert "benchai-supervisorctl check-config" in ran.stdout


@pytest.mark.parametrize(
    "text", ["[http]\nport = 70000\n", "backends = 7", "[[backends]]\nname = 'a'\n", "not toml at all"]
)
def test_check_config_says_what_the_daemons_own_check_says(tmp_path: Path, text: str) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text(text)
    daemon = [sys.executable, "-m", "supervisor.supervisord", "--check", "--settings", str(bad)]
    theirs = subprocess.run(daemon, capture_output=True, text=True, check=False)

    ours = ctl("check-config", str(bad))
    told = json.loads(ctl("check-config", str(bad), "-f", "json").stdout)

    assert (ours.returncode, ours.stdout, ours.stderr) == (theirs.returncode, theirs.stdout, theirs.stderr)
    assert ours.returncode == 2
    assert told == {"file": str(bad), "good": False, "problems": ours.stderr.splitlines()}


def test_check_config_finds_the_file_where_the_daemon_does_and_is_content_with_a_good_one(tmp_path: Path) -> None:
    around(tmp_path)

    ran = ctl("check-config", cwd=tmp_path)

    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == "settings.toml: good; backends: 1, routers: 0\n"


START = "systemctl start docker"
FOUND: list[tuple[str, Finding]] = [
    (
        "docker",
        error("nobody listens at unix:///run/docker.sock", cure="start Docker", command=START),
    ),
    ("servers", warning("its slots are hidden", cure="start it without --no-slots", target="general")),
    ("clock", note("it is late\x1b[2J")),
    ("disk", ok("there is room")),
]


def test_errors_come_first_each_with_what_helps_in_the_next_line() -> None:
    told = lines(
        Report(tuple(FOUND), ("docker", "servers", "clock", "disk")), width=None, settings=Path("/etc/settings.toml")
    )

    assert told == [
        "error    docker: nobody listens at unix:///run/docker.sock",
        "         start Docker: systemctl start docker",
        "warning  general (servers): its slots are hidden",
        "         start it without --no-slots",
        "note     clock: it is late [2J",
        "",
        "1 error, 1 warning, 1 note; 4 checks by /etc/settings.toml",
    ]


@pytest.mark.parametrize("width", [40, 60, 100, 300])
def test_on_a_terminal_lines_are_wrapped_and_commands_stay_whole(width: int) -> None:
    command = "ss -ltnp 'sport = :8091' | tee /a/path/that/is/rather/long/and/must/be/copied/as/it/is"
    finding = error("port 8091 is answered by " + "somebody " * 20, cure="end that process " * 10, command=command)

    told = lines(Report((("ports", finding),), ("ports",)), width=width)

    assert any(line.endswith(command) for line in told)
    assert all(len(line) <= min(width, 100) for line in told if command not in line)


def test_only_the_severity_is_coloured() -> None:
    told = lines(Report(tuple(FOUND), ("docker",)), width=None, is_coloured=True)

    assert told[0] == "\x1b[1;31merror    \x1b[0mdocker: nobody listens at unix:///run/docker.sock"
    assert [line for line in told[1:2] + told[-1:] if "\x1b" in line] == []


def test_where_nothing_is_in_the_way_that_is_the_last_word() -> None:
    assert lines(Report((FOUND[3],), ("disk",)), width=None) == ["nothing stands in the way (1 check)"]
