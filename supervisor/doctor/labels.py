"""Targets that are in no file: containers that say by their labels that they are to be watched, where that is on."""

import contextlib

from supervisor.doctor.around import CALL_S
from supervisor.engines.docker_labelled import Labelled, labelled
from supervisor.engines.docker_pool import SDK_ERRORS, connect
from supervisor.errors import SettingsError
from supervisor.settings import Settings
from supervisor.settings_labels import PREFIX, admit, backend, is_enabled


def with_labelled(settings: Settings) -> tuple[Settings, tuple[str, ...]]:
    """Return the settings with what labels add to them, and what is wrong with other labels; as the daemon has it."""
    if not settings.docker.discover:
        return settings, ()
    host, label = settings.docker.host, settings.docker.discover_label
    try:
        with contextlib.closing(connect(host, timeout_s=CALL_S)) as client:
            listed = labelled(client, host=host, label=label, prefix=PREFIX)
    except SDK_ERRORS:  # why, the check of the engine tells
        return settings, ()
    problems: list[str] = []
    for each in sorted(listed, key=lambda one: one.name):
        try:
            settings = _with(settings, each, label=label)
        except SettingsError as error:
            problems += str(error).splitlines()
    return settings, tuple(problems)


def _with(settings: Settings, found: Labelled, *, label: str) -> Settings:
    if not is_enabled(found.name, found.labels, label=label):
        return settings
    wanted = backend(
        found.name,
        found.labels,
        label=label,
        doors=found.doors,
        address=found.address,
        exposed=found.exposed,
    )
    return admit(settings, wanted)
