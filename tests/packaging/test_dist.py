"""What is published: the sdist, the wheel, and what becomes of them under uv and pipx, in clean places and offline."""

import email
import hashlib
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from supervisor import __version__
from testbed.cache import REPOSITORY
from testbed.debian import NotToBeHad
from testbed.installers import Installers, ensure_installers
from tests.cannot import cannot

PROJECT: dict[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
COMMANDS = ("benchai-supervisorctl", "benchai-supervisord")
PYTHON = getattr(sys, "_base_executable", None) or sys.executable
LEFT_OUT = re.compile(r"__pycache__|\.pyc$")


@dataclass(frozen=True, slots=True)
class Dist:
    """What is published, and the sdist unpacked."""

    wheel: Path
    sdist: Path
    unpacked: Path


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Dist:
    folder = tmp_path_factory.mktemp("dist")
    build(REPOSITORY, folder)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    subprocess.run(["tar", "-xf", sdist, "-C", folder], check=True)
    return Dist(wheel, sdist, folder / sdist.name.removesuffix(".tar.gz"))


@pytest.fixture(scope="module")
def installers() -> Installers:
    try:
        return ensure_installers()
    except NotToBeHad as problem:
        cannot(f"no uv and no pipx: {problem}")


@pytest.fixture(scope="module", params=["uv", "pipx"])
def installed(
    request: pytest.FixtureRequest, dist: Dist, installers: Installers, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return the folder of the commands, installed for a user who has nothing yet."""
    home = tmp_path_factory.mktemp(request.param)
    return {"uv": by_uv, "pipx": by_pipx}[request.param](dist.wheel, installers, home)


def by_uv(wheel: Path, installers: Installers, home: Path) -> Path:
    offline = ("--offline", "--no-index", "--find-links", str(installers.wheels), "--python", PYTHON)
    run([installers.programs / "uv", "tool", "install", *offline, wheel], home=home)
    return home / ".local" / "bin"


def by_pipx(wheel: Path, installers: Installers, home: Path) -> Path:
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(installers.wheels)}
    command = [installers.programs / "pipx", "install", "--backend", "pip", "--python", PYTHON, wheel]
    run(command, home=home, more=offline)
    return home / ".local" / "bin"


def run(command: list[Any], *, home: Path, more: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run it with nothing of ours in its environment."""
    clean = {"HOME": str(home), "PATH": "/usr/bin:/bin", **(more or {})}
    return subprocess.run(list(map(str, command)), env=clean, cwd=home, capture_output=True, text=True, check=True)


def build(source: Path, target: Path, *kinds: str) -> None:
    asked = [word for kind in kinds for word in ("-t", kind)]
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(target), *asked]
    subprocess.run(command, cwd=source, check=True, capture_output=True)


def contents(wheel: Path) -> dict[str, str]:
    """Return what is in a wheel: a digest by path."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()}


def names_of(requirements: list[str]) -> set[str]:
    return {re.split(r"[^\w-]", each, maxsplit=1)[0] for each in requirements}


def ask(installed: Path, command: str, *arguments: str, folder: Path) -> tuple[int, str]:
    environment = {"HOME": str(folder), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [installed / command, *arguments], env=environment, cwd=folder, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_a_wheel_made_from_the_sdist_is_the_same_as_one_made_from_the_tree(dist: Dist, tmp_path: Path) -> None:
    build(dist.unpacked, tmp_path, "wheel")

    (again,) = tmp_path.glob("*.whl")
    assert again.name == dist.wheel.name
    assert contents(again) == contents(dist.wheel)


def test_the_wheel_has_every_file_of_the_package(dist: Dist) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "supervisor"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.split()
    ours = {path for path in tracked if (REPOSITORY / path).exists()}

    assert {"supervisor/py.typed", "supervisor/history/migrations/0001_transitions_and_acts.sql"} <= ours
    assert ours - contents(dist.wheel).keys() == set()


def test_the_wheel_has_all_that_an_installation_on_a_host_writes(dist: Dist) -> None:
    files = [path for path in (REPOSITORY / "packaging").rglob("*") if path.is_file()]
    packaging = {str(path.relative_to(REPOSITORY)) for path in files if path.parent.name != "debian"}

    assert "packaging/systemd/benchai-supervisor.service" in packaging
    assert {f"supervisor/{name}" for name in packaging} <= contents(dist.wheel).keys()
    assert {"supervisor/packaging/settings.toml", "supervisor/packaging/requirements.txt"} <= contents(
        dist.wheel
    ).keys()


def test_nothing_of_the_tests_and_no_left_overs_are_published(dist: Dist) -> None:
    tops = {name.partition("/")[0] for name in contents(dist.wheel)}
    in_sdist = {str(path.relative_to(dist.unpacked)) for path in dist.unpacked.rglob("*")}

    assert tops == {"supervisor", f"benchai_supervisor-{__version__}.dist-info"}
    assert [name for name in (*contents(dist.wheel), *in_sdist) if LEFT_OUT.search(name)] == []
    assert [name for name in in_sdist if name.startswith(("tests", "testbed", "bench/"))] == []


def test_its_metadata_say_what_the_project_says(dist: Dist) -> None:
    with zipfile.ZipFile(dist.wheel) as archive:
        base = f"benchai_supervisor-{__version__}.dist-info"
        told = email.message_from_bytes(archive.read(f"{base}/METADATA"))
        commands = archive.read(f"{base}/entry_points.txt").decode()

    assert (told["Name"], told["Version"], told["License-Expression"]) == ("benchai-supervisor", __version__, "MIT")
    assert told["Requires-Python"] == PROJECT["requires-python"]
    assert names_of(told.get_all("Requires-Dist", [])) == names_of(PROJECT["dependencies"])
    assert all(f"{name} = {where}" in commands for name, where in PROJECT["scripts"].items())
    assert str(told.get_payload()).startswith("# benchai-supervisor")


def test_the_index_would_take_it(dist: Dist, installers: Installers, tmp_path: Path) -> None:
    said = run([installers.programs / "twine", "check", "--strict", dist.wheel, dist.sdist], home=tmp_path).stdout

    assert said.count("PASSED") == 2


def test_both_commands_are_installed_and_say_their_version(installed: Path, tmp_path: Path) -> None:
    assert sorted(each.name for each in installed.iterdir() if each.name.startswith("benchai")) == sorted(COMMANDS)
    for command in COMMANDS:
        status, said = ask(installed, command, "--version", folder=tmp_path)
        assert (status, __version__ in said) == (0, True)


def test_the_settings_that_we_ship_are_good(installed: Path, dist: Dist, tmp_path: Path) -> None:
    status, said = ask(
        installed, "benchai-supervisord", "--check", "--settings", str(dist.unpacked / "settings.toml"), folder=tmp_path
    )

    assert status == 0, said
    assert "good; backends: 4, routers: 1" in said


def test_without_a_daemon_status_cannot_tell_and_says_so(installed: Path, tmp_path: Path) -> None:
    nobody = f"unix://{tmp_path}/nobody.sock"

    status, said = ask(installed, "benchai-supervisorctl", "--server", nobody, "status", folder=tmp_path)

    assert status == 4
    assert f"cannot reach the daemon at {nobody}" in said
    assert "Start benchai-supervisord" in said
