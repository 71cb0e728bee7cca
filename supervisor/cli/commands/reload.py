"""`reread`, `update`, `reload`, `add`, `remove`: the settings file against what we go by, in supervisorctl's words.

What is said of a key stands indented below its target, so that whoever reads `NAME: changed` goes on doing so.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click

from supervisor.cli import suggest
from supervisor.cli.http import Daemon, DaemonRefused
from supervisor.cli.options import with_daemon
from supervisor.cli.terminal import FAILED, OK, say

ALL = "all"
WORDS = {"available": "added process group", "changed": "updated process group", "disappeared": "removed process group"}
IN_TURN = ("disappeared", "changed", "available")  # as supervisorctl tells of them
TAKES_RESTART = "takes a restart of the daemon"
NO_CHANGE = "No config updates to processes"
NOT_THERE = "NoSuchTarget"
NO_PROCESS, NO_GROUP = "ERROR: no such process/group: {}", "ERROR: no such group: {}"

Told = dict[str, Any]
names = click.argument("names", metavar="NAME...", nargs=-1, required=True, help="Targets' names in the settings file.")


@click.command()
@with_daemon
def reread(daemon: Daemon) -> int:
    """Show how the settings file differs from what the daemon goes by. It changes nothing.

    NAME: available is in the file only, changed differs, disappeared is not in the file any more.
    """
    try:
        told = daemon.difference()
    except DaemonRefused as refused:
        return _refuse(refused)
    for target in told["targets"]:
        say(f"{target.get('name')}: {target.get('what')}")
        _tell_more(target)
    if not told["targets"]:
        say(NO_CHANGE)
    _tell_common(told)
    return OK


@click.command()
@click.argument(
    "names",
    metavar="[NAME...]",
    nargs=-1,
    shell_complete=suggest.targets_or_all,
    help="Only these targets; all, or none: everything.",
)
@with_daemon
def update(daemon: Daemon, names: Sequence[str]) -> int:
    """Go by the settings file as it is now. Only what differs is touched, and a bad file changes nothing.

    Nothing is started or stopped for it, but for what is new and not running. What a file says no more is let go and
    runs on; a changed command holds from the next start.
    """
    if not names or ALL in names:
        return _each([None], lambda _: _tell_update(daemon.reload()))
    return _each(names, lambda name: _tell_update(daemon.reload(name)), missing=NO_GROUP)


@click.command()
@with_daemon
def reload(daemon: Daemon) -> int:
    """Go by the settings file as it is now, as update does and SIGHUP.

    supervisorctl's reload restarts its daemon. This one goes on watching: what takes a restart of the daemon is named,
    and all the rest holds at once.
    """

    def reloaded(_: str | None) -> int:
        _tell_update(daemon.reload())
        say("Reloaded benchai-supervisord")
        return OK

    return _each([None], reloaded)


@click.command()
@names
@with_daemon
def add(daemon: Daemon, names: Sequence[str]) -> int:
    """Watch targets that are new in the settings file; everything else in it is left for update."""

    def added(name: str | None) -> int:
        if not _is(daemon.difference(name), "available"):
            say("ERROR: process group already active")
            return OK  # as supervisorctl has it
        return _tell_update(daemon.reload(name))

    return _each(names, added)


@click.command()
@names
@with_daemon
def remove(daemon: Daemon, names: Sequence[str]) -> int:
    """Watch targets no more that are not in the settings file any more; whatever runs is let run on."""

    def removed(name: str | None) -> int:
        if not _is(daemon.difference(name), "disappeared"):
            say(f"ERROR: still in the settings file: {name}; take it out there first")
            return FAILED
        return _tell_update(daemon.reload(name))

    return _each(names, removed)


def _each(names: Iterable[str | None], do: Callable[[str | None], int], *, missing: str = NO_PROCESS) -> int:
    code = OK
    for name in names:
        try:
            code = max(code, do(name))
        except DaemonRefused as refused:
            code = _refuse(refused, missing.format(name))
    return code


def _is(told: Told, what: str) -> bool:
    return any(target.get("what") == what for target in told["targets"])


def _tell_update(told: Told) -> int:
    for what in IN_TURN:
        for target in told["targets"]:
            if target.get("what") == what:
                say(f"{target.get('name')}: {WORDS[what]}")
                _tell_more(target)
    _tell_common(told)
    return OK


def _tell_more(target: Told) -> None:
    for change in target.get("changes") or []:
        say(_change(change))
    if target.get("note"):
        say(f"  {target['note']}")


def _tell_common(told: Told) -> None:
    for change in told["common"]:
        say(_change(change))


def _change(change: Told) -> str:
    before, after = ("not set" if change.get(key) is None else change[key] for key in ("before", "after"))
    return f"  {change.get('key')}: {before} -> {after}{f' ({TAKES_RESTART})' if change.get('takes_restart') else ''}"


def _refuse(refused: DaemonRefused, missing: str = "") -> int:
    """Say why nothing has changed, a line for each thing that is wrong."""
    if refused.code == NOT_THERE:
        say(missing)
    else:
        for line in str(refused).splitlines():
            say(f"ERROR: {line}")
    return FAILED
