"""Targets that are units: what a real systemd says of them, and what the rules of a real polkit allow."""

import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import docker
import pytest

from supervisor.doctor.account import Account
from supervisor.doctor.around import Around
from supervisor.doctor.checks.units import look
from testbed.systemd_host import USER, SystemdHost, in_container, obstacle
from tests.cannot import cannot
from tests.doctor.patient import around, backend, found, router, words

UNIT = "[Service]\nExecStart=/bin/sleep infinity\n"


@pytest.fixture(scope="module")
def host(engine: docker.DockerClient) -> Iterator[SystemdHost]:
    """A host that runs systemd and polkit, with our rule."""
    if reason := obstacle():
        cannot(reason)
    with in_container(engine) as host:
        for name in ("benchai.service", "other.service"):
            host.write_unit(name, UNIT)
        host.write_unit("broken.service", "[Service]\n")
        host.systemctl("daemon-reload")
        host.systemctl("mask", "--runtime", "masked.service")
        yield host


def units(folder: Path, host: SystemdHost, *names: str) -> Around:
    """Return what is around a daemon of our own user on that host."""
    settings = backend("general", port=1) + "".join(
        router(port=8000 + index, engine="systemd", unit=name).replace('"router"', f'"r{index}"')
        for index, name in enumerate(names)
    )
    patient = around(folder, settings, more=f'[systemd]\nbus = "{host.bus}"', root=host.root)
    gids = frozenset(int(each) for each in host.run("id", "-G", USER).split())
    patient.account = Account(uid=host.uid(USER), gids=gids, name=USER, whose="its unit says so")
    return patient


def test_a_unit_that_the_rule_names_is_ours_to_restart(tmp_path: Path, host: SystemdHost) -> None:
    assert [
        each for each in words(found(look, units(tmp_path, host, "benchai.service"))) if "journal" not in each
    ] == []


def test_a_unit_that_no_rule_names_is_told_with_the_rule(tmp_path: Path, host: SystemdHost) -> None:
    first, *_ = found(look, units(tmp_path, host, "other.service"))

    assert words([first]) == [
        "error r0: benchai-supervisor (its unit says so) may not restart other.service: polkit denies it"
    ]
    assert "50-benchai-supervisor.rules" in first.command


def test_root_needs_no_rule(tmp_path: Path, host: SystemdHost) -> None:
    patient = units(tmp_path, host, "other.service")
    patient.account = Account(uid=0, gids=frozenset({0}), name="root", whose="who asks now")

    assert found(look, patient) == []


@pytest.mark.parametrize(
    ("unit", "told"),
    [
        ("absent.service", "error r0: systemd has no unit absent.service"),
        ("masked.service", "warning r0: masked.service is masked, so nobody can start it"),
        ("broken.service", "error r0: systemd cannot use broken.service: bad-setting"),
    ],
)
def test_what_systemd_cannot_start_is_told(tmp_path: Path, host: SystemdHost, unit: str, told: str) -> None:
    assert told in words(found(look, units(tmp_path, host, unit)))


def test_a_unit_that_was_changed_on_disk_is_told(tmp_path: Path, host: SystemdHost) -> None:
    host.systemctl("start", "benchai.service")
    host.write_unit("benchai.service", UNIT + "Nice=1\n")
    try:
        told = found(look, units(tmp_path, host, "benchai.service"))
    finally:
        host.systemctl("daemon-reload")

    assert "systemctl daemon-reload" in [each.command for each in told]


def test_who_may_not_read_the_journal_is_told_the_group(tmp_path: Path, host: SystemdHost) -> None:
    (host.root / "var/log/journal").mkdir(exist_ok=True)
    patient = units(tmp_path, host, "benchai.service")
    patient.account = Account(uid=patient.account.uid, gids=frozenset(), name=USER, whose="its unit says so")

    (only,) = found(look, patient)

    assert words([only]) == ["warning -: benchai-supervisor may not read the journal, so most causes stay unknown"]
    assert only.command.startswith("usermod -aG ")


def test_without_a_bus_that_is_said_and_not_waited_for(tmp_path: Path) -> None:
    settings = backend("general", port=1, engine="systemd", unit="general.service")
    bus = f'[systemd]\nbus = "unix:path={tmp_path}/none"'

    told = words(found(look, around(tmp_path, settings, more=bus)))

    assert told == [f"error -: there is no {tmp_path}/none"]


def test_a_bus_that_nobody_answers_on_is_told_of_the_unit(tmp_path: Path) -> None:
    settings = backend("general", port=1, engine="systemd", unit="general.service")
    with closing(socket.socket(socket.AF_UNIX)) as left_behind:
        left_behind.bind(str(tmp_path / "bus"))
        (told,) = words(found(look, around(tmp_path, settings, more=f'[systemd]\nbus = "unix:path={tmp_path}/bus"')))

    assert told.startswith("error general: systemd cannot be asked: ")
