"""What is set for targets that are units of systemd."""

from pathlib import Path

import pytest

from supervisor import build
from supervisor.settings_file import load
from tests.fakes.engine import ScriptedEngine
from tests.settings.texts import BACKEND, ROUTER, complaint

UNIT = 'engine = "systemd"\n'


@pytest.mark.parametrize(
    ("line", "unit"),
    [
        ("", "router.service"),
        ('unit = "benchai"', "benchai.service"),
        ('unit = "benchai.service"', "benchai.service"),
        ('unit = "benchai@v1.2"', "benchai@v1.2.service"),
    ],
)
def test_a_target_of_systemd_is_known_by_its_unit(file: Path, line: str, unit: str) -> None:
    file.write_text(f"{BACKEND}{ROUTER}{UNIT}{line}")

    assert load(file).routers[0].engine_name == unit


def test_a_unit_is_for_systemd_alone(file: Path) -> None:
    said = complaint(file, f'{BACKEND}unit = "general"')

    assert said == 'backends.general.unit = "general": is only for engine = "systemd", not "docker"'


@pytest.mark.parametrize("unit", ["benchai.timer", "benchai.socket", "docker.target"])
def test_a_unit_that_is_no_service_is_refused(file: Path, unit: str) -> None:
    said = complaint(file, f'{BACKEND}{ROUTER}{UNIT}unit = "{unit}"')

    assert said.startswith(f'routers.router.unit = "{unit}": is no service; ')


@pytest.mark.parametrize("unit", ["", "ben chai", "benchai/x", "../benchai"])
def test_a_name_that_no_unit_can_have_is_refused(file: Path, unit: str) -> None:
    assert "routers.router.unit" in complaint(file, f'{BACKEND}{ROUTER}{UNIT}unit = "{unit}"')


def test_two_targets_with_one_unit_are_refused_however_it_is_written(file: Path) -> None:
    said = complaint(file, f'{BACKEND}{UNIT}unit = "one"\n{ROUTER}{UNIT}unit = "one.service"')

    assert "is the unit of backends.general too; two would fight over it" in said


@pytest.mark.parametrize("bus", ["nonsense", "/run/dbus/system_bus_socket", "unix:path="])
def test_what_is_no_address_of_a_bus_is_refused(file: Path, bus: str) -> None:
    said = complaint(file, f'{BACKEND}[systemd]\nbus = "{bus}"')

    assert said.startswith(f'systemd.bus = "{bus}": is no D-Bus address; write e.g. "unix:path=/')


@pytest.mark.parametrize(
    ("bus", "is_here"), [("unix:path=/run/dbus/system_bus_socket", True), ("tcp:host=gpu-2,port=77", False)]
)
def test_only_a_bus_of_ours_is_taken_for_this_host(file: Path, bus: str, is_here: bool) -> None:
    file.write_text(f'{BACKEND}{UNIT}[systemd]\nbus = "{bus}"')
    settings = load(file)

    target = build.target(settings, settings.backends[0], {"systemd": ScriptedEngine()})

    assert target.is_on_this_host is is_here
