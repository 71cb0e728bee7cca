"""Our own settings.toml: complete, and true about the defaults."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from supervisor.core.policy import Policy
from supervisor.core.restraint import DAYS
from supervisor.settings import (
    AgentSettings,
    BackendSettings,
    DaemonSettings,
    DockerSettings,
    HttpSettings,
    MaintenanceSettings,
    PolicySettings,
    ProcessSettings,
    RecoverySettings,
    SystemdSettings,
)
from supervisor.settings_file import load
from tests.settings.texts import BACKEND, OURS, SECOND

SECTIONS: dict[str, type[BaseModel]] = {
    "daemon": DaemonSettings,
    "http": HttpSettings,
    "agent": AgentSettings,
    "docker": DockerSettings,
    "systemd": SystemdSettings,
    "process": ProcessSettings,
    "recovery": RecoverySettings,
    "policy": PolicySettings,
}
COMMENTED = re.compile(r"^# ([a-z_]+ = .*)$", re.MULTILINE)


def parts_of_ours() -> Iterator[tuple[str, str]]:
    """Yield the sections of our settings.toml, and the text below each header."""
    header = re.compile(r"^(?=\[\[?[a-z]+\]\]?$)", re.MULTILINE)
    for part in header.split(OURS.read_text())[1:]:
        first, _, rest = part.partition("\n")
        yield first.strip("[]"), rest


def test_ours_loads_to_the_defaults_and_the_four_backends() -> None:
    settings = load(OURS)

    defaults = {name: model() for name, model in SECTIONS.items()}
    assert {name: getattr(settings, name) for name in SECTIONS} == defaults
    assert [(each.name, each.url, each.models) for each in settings.backends] == [
        ("general", "http://127.0.0.1:8091", ("general",)),
        ("planner", "http://127.0.0.1:8092", ("planner", "research")),
        ("code", "http://127.0.0.1:8093", ("code",)),
        ("vision", "http://127.0.0.1:8094", ("vision",)),
    ]
    assert [(each.name, each.url) for each in settings.routers] == [("router", "http://127.0.0.1:8085")]


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_of_a_section_stands_in_ours_with_its_default(section: str) -> None:
    text = dict(parts_of_ours())[section]

    written = tomllib.loads("\n".join(COMMENTED.findall(text)))

    model = SECTIONS[section]
    assert list(written) == list(model.model_fields)
    assert model(**written) == model()


def test_ours_with_every_comment_taken_away_loads_to_the_same(file: Path) -> None:
    sections, targets = re.split(r"^(?=\[\[backends\]\])", OURS.read_text(), maxsplit=1, flags=re.MULTILINE)

    file.write_text(COMMENTED.sub(r"\1", sections) + targets)

    assert load(file) == load(OURS)


def test_every_key_of_a_backend_stands_in_ours_and_may_be_used() -> None:
    first = next(text for name, text in parts_of_ours() if name == "backends")

    backend = tomllib.loads(COMMENTED.sub(r"\1", first))

    assert set(backend) == set(BackendSettings.model_fields)
    assert BackendSettings(**backend).command[0] == "llama-server"
    unwritten = BackendSettings(name="general", url="http://127.0.0.1:8091", models=("general",))
    own = {key: value for key, value in tomllib.loads(first).items() if key not in ("container", "engine")}
    assert BackendSettings(**own) == unwritten
    for key in ("engine", "progress", "api_key", "canary_max_tokens"):
        assert getattr(BackendSettings(**backend), key) == getattr(unwritten, key)


def test_the_backends_keys_work_together_once_the_engine_is_chosen(file: Path) -> None:
    first = COMMENTED.sub(r"\1", next(text for name, text in parts_of_ours() if name == "backends"))
    first = re.sub(r"^(container|unit) = .*$", "", first, flags=re.MULTILINE)
    first = re.sub(r'^engine = "docker"', 'engine = "process"', first, flags=re.MULTILINE)

    file.write_text(f"[[backends]]\n{first}{SECOND}")
    settings = load(file)

    assert settings.policy_of(settings.backends[0]) == Policy(startup_limit_s=600.0)


def test_the_example_of_a_maintenance_window_has_every_key_and_may_be_used(file: Path) -> None:
    example = re.search(r"^# \[\[maintenance\]\].*\n(?:#   .*\n)+", OURS.read_text(), re.MULTILINE)
    assert example is not None

    file.write_text(re.sub(r"^# *", "", example[0], flags=re.MULTILINE) + BACKEND)
    (window,) = load(file).maintenance

    assert window.model_fields_set == set(MaintenanceSettings.model_fields)
    assert (window.days, window.targets) == (DAYS, ("general",))
