"""The supervisor at home: installed on a real systemd as docs/install.md says, and what it then lives through.

One host for all of it, so each test leaves it as it found it: everything ready. The last one takes it off the host.
"""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from testbed.clients import wait_until
from testbed.operated_host import BACKENDS, MODELS, PYTHON, ROUTER, TREE, OperatedHost, operated_host
from testbed.systemd_host import obstacle
from tests.cannot import cannot
from tests.host.page import commands

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(300)]
OURS = "benchai-supervisor"
ROUTER_NAME = "router"  # in the settings
UNITS = (*BACKENDS, ROUTER)
PAGE, WAY = "docs/install.md", "## As a service of systemd"
SETTINGS = Path("/etc/benchai-supervisor/settings.toml")
RULES = Path("/etc/polkit-1/rules.d/50-benchai-supervisor.rules")
DROP_IN = Path(f"/etc/systemd/system/{OURS}.service.d/impatient.conf")
WATCHDOG_S = 6
# As `systemctl edit` would write it: the same service, in a hurry.
HURRY = {"canary_every_s": 1.0, "canary_deadline_s": 1.5, "canary_retry_s": 0.5, "spare_s": 1.0}
ALL_READY = f"{len(UNITS)}/{len(UNITS)} ready"
OWN_MODEL = """
[[backends]]
name = "own"
url = "http://127.0.0.1:8094"
models = ["own"]
engine = "process"
command = {command}
"""


@pytest.fixture(scope="module")
def host(engine: docker.DockerClient) -> Iterator[OperatedHost]:
    """A host with its servers up, on which everything was done that the page says up to the end of the start."""
    if reason := obstacle():
        cannot(f"no systemd: {reason}")
    with operated_host(engine) as host:
        host.systemctl("enable", "--now", *UNITS)
        install, *rest = _steps()
        _dry_run_writes_nothing(host, install)
        host.shell(install)
        _hurry(host)
        *prepared, start = rest
        for block in prepared:
            host.shell(block)
        first, *looks = start.splitlines()
        host.shell(first)
        wait_until(lambda: host.shell("\n".join(looks), check=False).returncode == 0, "all is ready as the page says")
        yield host


def _steps() -> list[str]:
    """Return what the page has one do, up to the start: the upgrade and the end have tests of their own."""
    blocks = commands(PAGE, WAY)
    upgrade, removal = blocks[-2:]
    assert upgrade.split() == ["make", "install"]
    assert removal.startswith("make uninstall ")
    return blocks[:-2]


def _dry_run_writes_nothing(host: OperatedHost, install: str) -> None:
    dry, *_ = install.splitlines()
    assert "--dry-run" in dry
    before = host.shell("find /etc /opt /usr/local /var/lib -newermt @0 | sort").stdout
    host.shell(dry)
    assert host.shell("find /etc /opt /usr/local /var/lib -newermt @0 | sort").stdout == before


def _hurry(host: OperatedHost) -> None:
    lines = [f"Environment=BENCHAI_SUPERVISOR_POLICY__{key.upper()}={value}" for key, value in HURRY.items()]
    host.at(DROP_IN).parent.mkdir(parents=True)
    host.at(DROP_IN).write_text("\n".join(["[Service]", f"WatchdogSec={WATCHDOG_S}", *lines, ""]))


def said(host: OperatedHost) -> str:
    """Return our line in `systemctl status`."""
    return host.show(OURS, "StatusText")["StatusText"]


def lives(host: OperatedHost, *units: str) -> dict[str, str]:
    """Return which life each unit is in, all of them by default."""
    return {unit: host.show(unit, "InvocationID")["InvocationID"] for unit in units or UNITS}


def target(host: OperatedHost, name: str) -> dict[str, object]:
    """Return what our command says of one target."""
    told = json.loads(host.shell(f"benchai-supervisorctl status -f json {name}", check=False).stdout)
    return next(dict(entry) for entry in told["targets"] if entry["name"] == name)


def wait_all_ready(host: OperatedHost, *, line: str = ALL_READY) -> None:
    wait_until(lambda: said(host) == line, f"{line} (it says: {said(host)})", within_s=60)


def journal(host: OperatedHost, *arguments: str) -> str:
    return host.run("journalctl", "--no-pager", "--unit", OURS, *arguments)


def test_all_is_ready_after_a_boot_and_nobody_was_restarted_for_it(host: OperatedHost) -> None:
    wait_all_ready(host)

    host.reboot()

    wait_all_ready(host)
    assert host.show(OURS, "NRestarts")["NRestarts"] == "0"
    told = journal(host, "--boot")
    assert "restarting" not in told
    assert [target(host, name)["restarts"] for name in ("general", "code", "router")] == [0, 0, 0]


@pytest.mark.parametrize("user", ["root", OURS])
def test_the_doctor_finds_nothing_in_the_way_but_what_this_router_offers_beside(host: OperatedHost, user: str) -> None:
    ran = host.shell(f"runuser -u {user} -- benchai-supervisorctl doctor -f json", check=False)
    told = json.loads(ran.stdout)

    assert told["settings"] == str(SETTINGS)
    assert told["user"] == OURS
    assert {
        (each["check"], each["target"]) for each in told["findings"] if each["severity"] in ("error", "warning")
    } == {("aliases", ROUTER_NAME)}


def test_it_runs_as_its_own_user_with_few_rights_and_its_unit_has_no_mistake(host: OperatedHost) -> None:
    wait_all_ready(host)
    pid = host.show(OURS, "MainPID")["MainPID"]
    status = (host.root / "proc" / pid / "status").read_text()
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)

    host.run("systemd-analyze", "security", "--no-pager", "--threshold=15", OURS)  # fails where it is worse than 1.5
    host.run("systemd-analyze", "verify", f"{OURS}.service")

    doctor = host.shell("benchai-supervisorctl doctor", cwd=Path("/"), check=False).stdout

    assert [line for line in doctor.splitlines() if line.startswith("error")] == []
    assert "checks" in doctor
    assert {int(uid) for uid in facts["Uid"].split()} == {host.uid(OURS)}
    assert int(facts["CapEff"], 16) == 0
    assert facts["NoNewPrivs"] == "1"
    assert host.shell("stat -c %U:%G:%a /etc/benchai-supervisor/settings.toml").stdout == f"root:{OURS}:640\n"
    assert host.shell("runuser -u nobody cat /run/benchai-supervisor/liveness.json").stdout.startswith('{"schema"')


def test_with_those_rights_the_socket_of_the_group_docker_can_be_opened(host: OperatedHost) -> None:
    tried = host.shell(
        f"/usr/bin/python3 tests/host/under_our_rights.py /etc/systemd/system/{OURS}.service", check=False
    )

    assert tried.returncode == 0, tried.stderr


def test_a_router_that_hangs_behind_a_good_face_is_restarted_by_the_service_which_may_restart_nothing_else(
    host: OperatedHost,
) -> None:
    wait_all_ready(host)
    before = lives(host)

    host.systemctl("kill", "--kill-whom=main", "--signal=USR2", ROUTER)
    face = host.shell(
        f"{PYTHON} -c 'import httpx; print(httpx.get(\"http://127.0.0.1:8085/health\").status_code)'"
    ).stdout
    wait_until(lambda: lives(host, ROUTER)[ROUTER] != before[ROUTER], "the router was restarted", within_s=90)
    wait_all_ready(host)

    assert face.strip() == "200"
    assert lives(host, *BACKENDS) == {name: before[name] for name in BACKENDS}
    refused = host.shell(f"runuser -u {OURS} -- systemctl --no-ask-password restart systemd-journald", check=False)
    assert refused.returncode != 0


def test_a_daemon_that_is_frozen_is_brought_back_by_the_watchdog_with_all_that_it_knew(host: OperatedHost) -> None:
    wait_all_ready(host)
    host.shell('benchai-supervisorctl hold code -m "new driver"')
    models, restarts = lives(host), target(host, "router")["restarts"]
    before = host.show(OURS, "MainPID", "NRestarts")

    host.systemctl("kill", "--kill-whom=main", "--signal=STOP", OURS)
    wait_until(
        lambda: (
            host.show(OURS, "NRestarts", "ActiveState")
            == {"NRestarts": str(int(before["NRestarts"]) + 1), "ActiveState": "active"}
        ),
        "the watchdog has struck, and it is up again",
        within_s=60,
    )
    wait_all_ready(host)
    held = target(host, "code")["held"]
    host.shell("benchai-supervisorctl release code")

    assert host.show(OURS, "MainPID")["MainPID"] != before["MainPID"]
    assert isinstance(held, dict)
    assert held["message"] == "held: new driver" or "new driver" in str(held["message"])
    assert target(host, "router")["restarts"] == restarts
    assert lives(host) == models
    assert "Fatal Python error: Aborted" in journal(host, "--boot")  # and the stack of where it stood


def test_a_daemon_that_is_stopped_stops_no_model_and_a_model_of_its_own_runs_on_and_is_taken_over(
    host: OperatedHost,
) -> None:
    wait_all_ready(host)
    before, settings = lives(host), host.at(SETTINGS).read_text()
    model = next(path.name for path in host.at(MODELS).iterdir())
    command = [PYTHON, f"{TREE}/testbed/llama_server.py", "-m", f"{MODELS}/{model}", "--port", "8094", "-c", "512"]
    host.at(SETTINGS).write_text(settings + OWN_MODEL.format(command=json.dumps(command)))
    pid = host.show(OURS, "MainPID")
    host.systemctl("reload", OURS)
    wait_all_ready(host, line="4/4 ready")
    reloaded = host.show(OURS, "MainPID")
    own = target(host, "own")["pid"]
    host.shell(f"runuser -u {OURS} -- touch /dev/shm/of-a-model")

    host.systemctl("stop", OURS)
    lives_on = host.shell(f"stat -c %U /proc/{own} && tr '\\0' ' ' < /proc/{own}/cmdline", check=False).stdout
    kept = host.shell(f"ls /dev/shm; rm /dev/shm/of-a-model; grep -E ' /(var/)?tmp ' /proc/{own}/mountinfo").stdout
    file_is_left = host.shell("ls /run/benchai-supervisor", check=False).returncode == 0
    host.systemctl("start", OURS)
    wait_all_ready(host, line="4/4 ready")
    taken_over = target(host, "own")["pid"]
    host.shell("benchai-supervisorctl stop --now own")
    host.at(SETTINGS).write_text(settings)
    host.systemctl("reload", OURS)
    wait_all_ready(host)

    assert reloaded == pid
    assert lives_on.startswith(f"{OURS}\n{PYTHON} ")
    assert taken_over == own
    assert "of-a-model" in kept
    assert (kept.count(f" /var/lib/{OURS}/"), "deleted" in kept) == (2, False)
    assert not file_is_left
    assert lives(host) == before


def test_settings_that_cannot_be_used_change_nothing_and_are_not_tried_again_and_again(host: OperatedHost) -> None:
    wait_all_ready(host)
    settings, before = host.at(SETTINGS).read_text(), host.show(OURS, "MainPID", "ActiveState")

    host.at(SETTINGS).write_text(settings.replace('engine = "systemd"', 'engine = "systemctl"'))
    refused = host.shell(f"systemctl reload {OURS}", check=False)
    after = host.show(OURS, "MainPID", "ActiveState")
    host.systemctl("restart", OURS, check=False)
    wait_until(lambda: host.show(OURS, "ActiveState")["ActiveState"] == "failed", "it has given up")
    code = host.show(OURS, "ExecMainStatus", "NRestarts")
    host.at(SETTINGS).write_text(settings)
    host.systemctl("start", OURS)
    wait_all_ready(host)

    assert refused.returncode != 0
    assert after == before
    assert code["ExecMainStatus"] == "2"
    assert "engine" in journal(host, "--lines=30")


def test_the_journal_tells_each_thing_once_with_one_time_and_the_word_of_systemd(host: OperatedHost) -> None:
    wait_all_ready(host)

    lines = journal(host, "--output=cat").splitlines()
    ours = [line for line in lines if " → " in line]

    assert ours
    assert [line for line in ours if line[:1].isdigit()] == []
    assert f'Status: "{ALL_READY}"' in host.systemctl("status", "--no-pager", OURS)


def test_the_same_command_is_an_upgrade_that_keeps_what_was_edited_and_touches_no_model(host: OperatedHost) -> None:
    wait_all_ready(host)
    edited = {path: host.at(path).read_bytes() for path in (SETTINGS, RULES)}
    before, pid = lives(host), host.show(OURS, "MainPID")["MainPID"]
    upgrade = commands(PAGE, WAY)[-2]

    words = host.shell(upgrade).stdout
    wait_all_ready(host)

    assert f"keep   {SETTINGS} (edited by hand)" in words
    assert {path: host.at(path).read_bytes() for path in edited} == edited
    assert host.show(OURS, "MainPID")["MainPID"] != pid
    assert lives(host) == before


def test_it_is_removed_without_a_trace_but_settings_and_history_and_those_too_where_asked(host: OperatedHost) -> None:
    wait_all_ready(host)
    before = lives(host)
    removal = commands(PAGE, WAY)[-1]

    host.shell(removal)
    left = set(host.shell(f"find / -xdev -name '*{OURS}*' -not -path '{TREE}*' -not -path '/wheels/*'").stdout.split())
    host.shell("make uninstall ARGS=--purge")
    purged = set(
        host.shell(f"find / -xdev -name '*{OURS}*' -not -path '{TREE}*' -not -path '/wheels/*'").stdout.split()
    )

    assert lives(host) == before
    assert left == {str(DROP_IN.parent), *(f"/{place}/{OURS}" for place in ("etc", "var/lib", "var/log"))}
    assert purged == {str(DROP_IN.parent)}
    assert shlex.quote(OURS) not in host.at(Path("/etc/passwd")).read_text()
