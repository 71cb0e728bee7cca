"""Targets that are units of systemd: there, not masked, ours to restart, and their journal ours to read."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from supervisor.doctor.account import exists, group_of
from supervisor.doctor.around import CALL_S, Around
from supervisor.doctor.finding import Finding, error, ok, unseen, warning
from supervisor.engines.circumstances import MISSING
from supervisor.engines.systemd import SystemdEngine
from supervisor.errors import SupervisorError
from supervisor.settings import TargetSettings

RULES = ("etc/polkit-1/rules.d", "usr/share/polkit-1/rules.d", "usr/local/share/polkit-1/rules.d")
MANAGE = "org.freedesktop.systemd1.manage-units"
JOURNALS = ("var/log/journal", "run/log/journal")
RULE = "cp packaging/polkit/50-benchai-supervisor.rules /etc/polkit-1/rules.d/"


def look(around: Around) -> Iterator[Finding]:
    """Look at each of them, where there is one."""
    wanted = [each for each in around.targets if each.engine == "systemd"]
    if not wanted:
        return
    found: list[Finding] = []
    bus = Path(around.settings.systemd.bus.partition("path=")[2] or "/run/dbus/system_bus_socket")
    if around.settings.systemd.bus.startswith("unix:path=") and not exists(bus):
        cure = "start D-Bus, or set [systemd] bus to where its socket is"
        yield error(f"there is no {bus}", cure=cure, command="systemctl start dbus.socket")
        return
    for target in wanted:
        found += [*_unit(around, target), *_leave(around, target)]
    found += _journal(around)
    yield from found or [ok("the units are there, and ours to restart")]


def _unit(around: Around, target: TargetSettings) -> Iterator[Finding]:
    name = target.engine_name
    try:
        state = asyncio.run(_state(around.settings.systemd.bus, name))
    except (SupervisorError, OSError, TimeoutError) as problem:
        cure = "see whether systemd and D-Bus run here, and what [systemd] bus says"
        yield error(f"systemd cannot be asked: {problem}", cure=cure, target=target.name)
        return
    if state == MISSING:
        cure, command = 'name the unit that runs it: unit = "…" in the settings', "systemctl list-units --type=service"
        yield error(f"systemd has no unit {name}", cure=cure, command=command, target=target.name)
    elif state.startswith("masked"):
        seen, command = f"{name} is masked, so nobody can start it", f"systemctl unmask {name}"
        yield warning(seen, cure="unmask it, if it should run", command=command, target=target.name)
    elif not state.startswith("loaded"):
        command = f"systemd-analyze verify {name}"
        yield error(f"systemd cannot use {name}: {state}", cure="mend its file", command=command, target=target.name)
    elif state != "loaded":
        seen = f"{name} was changed on disk, and systemd has not read it again"
        yield warning(seen, cure="have systemd read it", command="systemctl daemon-reload", target=target.name)


async def _state(bus: str, unit: str) -> str:
    """Return systemd's word for how it has a unit: loaded, masked, or what is wrong with it."""
    engine = SystemdEngine(bus=bus, timeout_s=CALL_S)
    try:
        async with asyncio.timeout(2 * CALL_S):
            return (await engine.circumstances(unit))["unit"]
    finally:
        await engine.close()


def _leave(around: Around, target: TargetSettings) -> Iterator[Finding]:
    """Say whether polkit lets the daemon's user restart a unit: as it answers itself, else as its rules are written."""
    account, unit = around.account, target.engine_name
    if account.is_root:
        return
    asked = _asked_polkit(around, unit)
    if asked is None:
        try:
            is_named = any(_names(path, account.name, unit) for path in _rules(around.root))
        except OSError:
            yield unseen(f"whether {account.name} may restart {unit}", target=target.name)
            return
        asked = is_named
    if not asked:
        seen = f"{account.name} ({account.whose}) may not restart {unit}: polkit denies it"
        cure = "give polkit our rule, and add the unit to its list (docs/systemd.md)"
        yield error(seen, cure=cure, command=RULE, target=target.name)


def _asked_polkit(around: Around, unit: str) -> bool | None:
    """Return polkit's own answer about the daemon that runs; only root may ask for others. None: it was not asked."""
    pid = ((around.status or {}).get("daemon") or {}).get("pid")
    pkcheck = shutil.which("pkcheck")
    if os.geteuid() != 0 or not isinstance(pid, int) or pkcheck is None:
        return None
    about = ["--detail", "unit", unit, "--detail", "verb", "restart"]
    command = [pkcheck, "--action-id", MANAGE, "--process", str(pid), *about]
    try:
        ran = subprocess.run(command, capture_output=True, timeout=CALL_S, check=False)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return {0: True, 1: False, 2: False, 3: False}.get(ran.returncode)


def _rules(root: Path) -> Iterator[Path]:
    for folder in RULES:
        if (root / folder).is_dir():
            yield from (path for path in (root / folder).iterdir() if path.suffix == ".rules")


def _names(path: Path, user: str, unit: str) -> bool:
    text = path.read_text(errors="replace")
    return MANAGE in text and unit in text and user in text


def _journal(around: Around) -> Iterator[Finding]:
    folder = next((around.root / each for each in JOURNALS if exists(around.root / each)), None)
    if folder is None or around.account.is_root:
        return
    try:
        gid, group = folder.stat().st_gid, group_of(folder)
    except OSError:
        return
    if gid not in around.account.gids:
        seen = f"{around.account.name} may not read the journal, so most causes stay unknown"
        command = f"usermod -aG {group} {around.account.name} && systemctl restart benchai-supervisor"
        yield warning(seen, cure="put the user into its group", command=command)
