"""Disk, memory, clock, versions and the liveness file: what the machine itself has to say."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path

import pytest

from supervisor import __version__
from supervisor.doctor.account import Account
from supervisor.doctor.around import Around
from supervisor.doctor.checks import clock, disk, liveness_file, memory, versions
from supervisor.doctor.checks.clock import is_synchronised
from supervisor.settings_file import load
from tests.cannot import cannot
from tests.doctor.patient import around, backend, found, router, words
from tests.doctor.test_account import reachable

MEMINFO = "MemTotal: 16384000 kB\nMemAvailable: {free} kB\nSwapTotal: 1000000 kB\nSwapFree: {swap} kB\n"
LISTENS = (
    "import socket, time; server = socket.create_server(('127.0.0.1', 0)); "
    "print(server.getsockname()[1], flush=True); time.sleep(60)"
)
STRANGER = Account(uid=65534, gids=frozenset(), name="benchai-supervisor", whose="its unit says so")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of a few megabytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(folder)], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        cannot("it takes root to mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_all_but_full_is_told_with_how_to_find_what_fills_it(small_disk: Path) -> None:
    (only,) = found(disk.look, around(small_disk))

    assert words([only])[0].startswith("error -: only 7 MiB are free at ")
    assert only.command == f"du -xh {small_disk} | sort -h | tail"


def test_a_disk_that_is_read_only_is_told(small_disk: Path) -> None:
    patient = around(small_disk)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)

    assert any("is read-only" in each.seen and each.severity == "error" for each in found(disk.look, patient))


def test_a_directory_that_the_daemons_user_may_not_write_is_told_with_how_to_make_it(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        cannot("only root can look for another user")
    patient = around(reachable(tmp_path))
    patient.account = STRANGER

    first, *_ = found(disk.look, patient)

    assert first.seen == (
        f"benchai-supervisor (its unit says so) may not write to {tmp_path} (daemon.state_dir),"
        f" so {tmp_path}/state cannot be made"
    )
    assert first.command == f"install -d -o benchai-supervisor {tmp_path}/state"


def test_what_systemd_makes_at_every_start_need_not_be_there(tmp_path: Path) -> None:
    unit = tmp_path / "root/etc/systemd/system/benchai-supervisor.service"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\nUser=nobody\nRuntimeDirectory=no-such-thing\nStateDirectory=no-such-thing\n")
    path = tmp_path / "settings.toml"
    path.write_text(
        '[daemon]\nstate_dir = "/var/lib/no-such-thing"\nliveness_file = "/run/no-such-thing/liveness.json"\n'
        f'[http]\nsocket = "/run/no-such-thing/control.sock"\n{backend("general", port=1)}'
    )

    def told(root: Path) -> list[str]:
        patient = Around(settings=load(path), path=path, root=root)
        patient.account = STRANGER
        return [each for each in words(found(disk.look, patient)) if "may not write" in each]

    assert told(tmp_path / "root") == []
    assert len(told(tmp_path)) == 3


@pytest.mark.parametrize(
    ("free", "swap", "told"),
    [
        (8_000_000, 900_000, []),
        (
            100_000,
            900_000,
            ["warning -: only 97 of 16000 MiB of memory are available: the kernel will soon kill somebody"],
        ),
        (
            8_000_000,
            1_000,
            ["note -: 976 of 976 MiB of swap are in use: a model that is swapped out answers as if it hung"],
        ),
    ],
)
def test_memory_that_is_nearly_gone_is_told(tmp_path: Path, free: int, swap: int, told: list[str]) -> None:
    (tmp_path / "meminfo").write_text(MEMINFO.format(free=free, swap=swap))

    seen = words(found(memory.look, around(tmp_path, proc=tmp_path)))

    assert [each.replace("975 of", "976 of") for each in seen] == told


def test_this_machines_memory_can_be_read(tmp_path: Path) -> None:
    (only,) = (each for each in memory.look(around(tmp_path)) if each.severity == "ok")

    assert "MiB are available" in only.seen


@pytest.mark.parametrize(
    ("host", "severity"),
    [pytest.param("127.0.0.1", "note", id="read-here"), pytest.param("0.0.0.0", "warning", id="read-elsewhere")],
)
def test_a_clock_that_nobody_sets_matters_where_others_read_what_we_date(
    tmp_path: Path, host: str, severity: str
) -> None:
    more = f'host = "{host}"\ntoken = "long-enough"'

    (only,) = [each for each in clock.look(around(tmp_path, more=more), asks=lambda: False) if each.severity != "ok"]

    assert (only.severity, only.command) == (severity, "timedatectl set-ntp true")


@pytest.mark.parametrize("answer", [True, None])
def test_a_clock_that_is_right_or_that_nobody_knows_about_is_no_trouble(tmp_path: Path, answer: bool | None) -> None:
    assert [each.severity for each in clock.look(around(tmp_path), asks=lambda: answer)] == ["ok"]


def test_the_kernel_tells_of_its_clock() -> None:
    assert is_synchronised() in (True, False)


def test_a_daemon_of_another_version_is_told(tmp_path: Path) -> None:
    def told(version: str) -> list[str]:
        return words(found(versions.look, around(tmp_path, status={"daemon": {"version": version}})))

    assert told(__version__) == []
    assert told("0.0.1") == [f"warning -: the daemon that runs is version 0.0.1, and this command is {__version__}"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        pytest.param(("", ""), "", id="the-same"),
        pytest.param(("One file to copy", "One file to take"), "note router: {} is another version", id="other-words"),
        pytest.param(("\nSCHEMA = 1\n", "\nSCHEMA = 7\n"), "error router: {} reads schema 7", id="other-schema"),
    ],
)
def test_a_routers_copy_of_our_client_is_held_to_ours(tmp_path: Path, change: tuple[str, str], told: str) -> None:
    copy = tmp_path / "router" / "benchai_liveness" / "client.py"
    copy.parent.mkdir(parents=True)
    copy.write_text(resources.files("supervisor").joinpath("client.py").read_text().replace(*change, 1))
    (copy.parent.parent / "client.py").write_text("# somebody else's client\n")
    with subprocess.Popen([sys.executable, "-c", LISTENS], cwd=tmp_path / "router", stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            number = int(process.stdout.readline())
            seen = words(found(versions.look, around(tmp_path, backend("general", port=1) + router(port=number))))
        finally:
            process.kill()

    assert [each[: len(told.format(copy))] for each in seen] == ([told.format(copy)] if told else [])


def document(*, expires_in_s: float) -> str:
    """Return as much of a liveness document as is looked at."""
    return json.dumps({"expires_at": (datetime.now(UTC) + timedelta(seconds=expires_in_s)).isoformat()})


@pytest.mark.parametrize(
    ("content", "told"),
    [
        pytest.param(600.0, "", id="fresh"),
        pytest.param(-100.0, "error -: {} ran out 1", id="expired"),
        pytest.param("{}", "error -: {} holds no liveness document", id="not-ours"),
        pytest.param(None, "error -: there is no {}, although the daemon runs", id="missing"),
    ],
)
def test_while_the_daemon_runs_its_file_is_kept_up_to_date(
    tmp_path: Path, content: str | float | None, told: str
) -> None:
    path = tmp_path / "liveness.json"
    if content is not None:
        path.write_text(content if isinstance(content, str) else document(expires_in_s=content))

    seen = words(found(liveness_file.look, around(tmp_path, status={"daemon": {}})))

    assert [each[: len(told.format(path))] for each in seen] == ([told.format(path)] if told else [])


def test_a_file_that_the_routers_user_may_not_read_is_told_with_how_to_open_it(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        cannot("only root can look for another user")
    path = reachable(tmp_path) / "liveness.json"
    path.write_text("{}")
    path.chmod(0o640)
    unit = tmp_path / "root/etc/systemd/system/benchai.service"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\nUser=nobody\n")
    settings = backend("general", port=1) + router(port=8085, engine="systemd", unit="benchai")
    patient = around(tmp_path, settings, root=tmp_path / "root")

    (only,) = found(liveness_file.look, patient)
    path.chmod(0o644)
    opened = found(liveness_file.look, patient)

    assert words([only]) == [f"error router: nobody, as whom the router runs, may not read {path}"]
    assert only.command == f"chmod o+rx {tmp_path} && chmod o+r {path}"
    assert opened == []


def test_a_router_without_a_unit_is_known_by_whom_its_port_belongs_to(tmp_path: Path) -> None:
    (tmp_path / "liveness.json").write_text("{}")
    with socket.create_server(("127.0.0.1", 0)) as server:
        settings = backend("general", port=1) + router(port=server.getsockname()[1])
        (only,) = liveness_file.look(around(tmp_path, settings))

    assert only.severity == "ok"
    assert only.seen.endswith("as whom the router runs, may read it")
