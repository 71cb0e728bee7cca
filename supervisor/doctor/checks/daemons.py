"""Another supervisor over the same targets: each takes the other's restarts for somebody's, and one loses."""

import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from supervisor import settings_file
from supervisor.doctor import whose_settings
from supervisor.doctor.account import is_daemon, words_of
from supervisor.doctor.around import Around
from supervisor.doctor.finding import Finding, error, note, ok, unseen, warning
from supervisor.errors import SettingsError
from supervisor.settings import Settings, TargetSettings


def look(around: Around) -> Iterator[Finding]:
    """Look at every process of the program but our own daemon."""
    own = ((around.status or {}).get("daemon") or {}).get("pid")
    found = [
        finding
        for pid, words in _daemons(around.proc)
        if own not in _numbers(around.proc, pid)
        for finding in _judged(around, pid, words)
    ]
    found += _unanswered(around) if around.status is None else _itself(around.status)
    yield from found or [ok("no other daemon looks after the same targets")]


def _itself(status: Mapping[str, Any]) -> Iterator[Finding]:
    """Tell what the daemon says ails it."""
    for problem in (status.get("daemon") or {}).get("problems") or []:
        yield warning(str(problem), cure="see its log", command="journalctl -u benchai-supervisor -n 50")
    expires_at = str(status.get("expires_at") or "")
    try:
        late_s = time.time() - datetime.fromisoformat(expires_at).timestamp()
    except ValueError:
        return
    if late_s > 0:
        seen = f"the daemon answers and has not decided anything for long: what it tells ran out {late_s:.0f} s ago"
        yield error(seen, cure="restart it", command="systemctl restart benchai-supervisor")


def _unanswered(around: Around) -> Iterator[Finding]:
    """Tell of a daemon that holds the state directory's lock and does not answer, or that none runs."""
    path = around.settings.daemon.state_dir / "lock"
    try:
        inode, locks = path.stat().st_ino, (around.proc / "locks").read_text()
    except OSError:
        inode, locks = 0, ""
    # Read, and not tried: whoever held it for a moment might keep a daemon from its start.
    holders = [
        words[4] for words in map(str.split, locks.splitlines()) if words[5:6] and words[5].endswith(f":{inode}")
    ]
    if holders:
        seen = f"a daemon (pid {holders[0]}) holds {path} and does not answer at {around.settings.http.socket}"
        cure = "see its log; if it hangs, restart it"
        yield error(seen, cure=cure, command="journalctl -u benchai-supervisor -n 50")
        return
    seen, command = f"no daemon was asked: {around.silence}", "systemctl start benchai-supervisor"
    if inode:  # it has run before: whoever asks at night takes it for granted that it runs
        yield warning(f"the daemon does not run ({seen})", cure="start it", command=command)
    else:
        yield note(seen, cure="start it, if it should run", command=command)


def _daemons(proc: Path) -> Iterator[tuple[int, list[str]]]:
    for folder in proc.iterdir():
        words = words_of(int(folder.name), proc) if folder.name.isdecimal() else []
        if is_daemon(words):
            yield int(folder.name), words


def _judged(around: Around, pid: int, words: list[str]) -> Iterator[Finding]:
    theirs = _settings(around.proc, pid, words)
    if theirs is None:
        yield unseen(f"what another daemon (pid {pid}) looks after")
        return
    if theirs.daemon.state_dir == around.settings.daemon.state_dir and around.status is None:
        return  # our own, which does not answer: the lock tells of it
    for target in around.targets:
        if any(_is_same(target, each) for each in theirs.targets):
            seen = f"another daemon (pid {pid}) looks after {target.name} too"
            yield error(seen, cure="stop one of the two", command=f"kill {pid}", target=target.name)


def _numbers(proc: Path, pid: int) -> list[int]:
    """Return a process's numbers: ours for it, and those in the containers that it is in."""
    try:
        lines = (proc / str(pid) / "status").read_text().splitlines()
    except OSError:
        return [pid]
    inner = next((line.split()[1:] for line in lines if line.startswith("NSpid:")), [])
    return [pid, *map(int, inner)]


def _settings(proc: Path, pid: int, words: list[str]) -> Settings | None:
    """Return what another daemon was started with, read where its files are."""
    path = whose_settings.of_process(pid, words, proc)
    try:
        return settings_file.load(proc / str(pid) / "root" / path.relative_to("/"))
    except SettingsError:
        return None


def _is_same(ours: TargetSettings, theirs: TargetSettings) -> bool:
    by_engine = ours.engine == theirs.engine != "none" and ours.engine_name == theirs.engine_name
    return by_engine and (ours.engine != "process" or ours.url == theirs.url)
