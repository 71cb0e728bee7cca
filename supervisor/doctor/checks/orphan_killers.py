"""Units and cron tables that kill model servers: what they end looks like a crash, and is restarted, and so on."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from supervisor.doctor import unit_files
from supervisor.doctor.around import Around
from supervisor.doctor.finding import Finding, error, note, ok, unseen
from supervisor.doctor.text_files import beginning

CRON = ("etc/crontab", "etc/cron.d/*", "var/spool/cron/crontabs/*")
PERIODIC = ("etc/cron.hourly/*", "etc/cron.daily/*")
SERVER = r"llama[-_]?(?:server|cpp)|llama_cpp|vllm|sglang|ollama"
KILLS_BY_NAME = re.compile(rf"\b(?:pkill|killall|skill)\b[^;&|]*(?:{SERVER})", re.IGNORECASE)
KILLS_BY_PORT = re.compile(
    r"\bfuser\b(?=[^;&|]*\s-\w*k)[^;&|]*?\b(\d{2,5})/tcp|\bfuser\b(?=[^;&|]*\s-\w*k)[^;&|]*?-n\s+tcp\s+(\d{2,5})"
)
DOCKER_ACT = re.compile(r"\bdocker\s+(?:container\s+)?(?:restart|kill|stop)\s+([^;&|]*)")
EXEC = re.compile(r"Exec(?:Start|StartPre|StartPost|Stop|StopPost|Reload|Condition)")
MOST_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Line:
    """A command that somebody has the machine run."""

    of: str  # a unit, or a file
    path: Path
    command: str


def look(around: Around) -> Iterator[Finding]:
    """Look at every unit's commands, and at the scripts that they run."""
    found = [finding for line in _lines(around.root) for finding in _judged(around, line)]
    blind = list(_unreadable(around.root))
    if blind:
        found.append(unseen(f"cron tables; {blind[0]} is not readable"))
    yield from found or [ok("no unit and no cron table kills model servers")]


def _judged(around: Around, line: Line) -> Iterator[Finding]:
    if by_name := KILLS_BY_NAME.search(line.command):
        seen = f"{line.of} kills every model server ({by_name[0].strip()}; {line.path})"
        cure = "take that out: whoever runs the servers ends them, one by one"
        yield error(seen, cure=cure, command=_edit(line))
    yield from _by_port(around, line)
    yield from _by_container(around, line)


def _by_port(around: Around, line: Line) -> Iterator[Finding]:
    ports = {urlsplit(each.url).port: each for each in around.settings.targets}
    for match in KILLS_BY_PORT.finditer(line.command):
        target = ports.get(int(match[1] or match[2]))
        if target is None:
            continue
        if target.engine == "systemd" and target.engine_name == line.of:
            yield note(f"{line.of} kills whoever holds its own port ({match[0]})", target=target.name)
            continue
        # A router's port is most often cleared by its own unit, which need not be a target.
        tell = note if target in around.settings.routers else error
        seen = f"{line.of} kills whoever listens on {target.name}'s port ({match[0]}; {line.path})"
        cure = "take that out, or let it name the unit's own process"
        yield tell(seen, cure=cure, command=_edit(line), target=target.name)


def _by_container(around: Around, line: Line) -> Iterator[Finding]:
    containers = {each.engine_name: each.name for each in around.settings.targets if each.engine == "docker"}
    for match in DOCKER_ACT.finditer(line.command):
        for name in match[1].split():
            if name in containers:
                cure = "take that out, or hold the target meanwhile (benchai-supervisorctl hold)"
                seen = f"{line.of} runs `{match[0].strip()}` ({line.path})"
                yield error(seen, cure=cure, target=containers[name])


def _edit(line: Line) -> str:
    return f"systemctl edit --full {line.of}" if line.of.endswith(unit_files.SERVICE) else f"editor {line.path}"


def _lines(root: Path) -> Iterator[Line]:
    for each in unit_files.settings(root):
        if EXEC.fullmatch(each.key) and each.unit != unit_files.OUR_UNIT:
            yield Line(each.unit, each.path, each.value)
            yield from (Line(each.unit, script, text) for script, text in _scripts(each.value, root))
    for pattern in (*CRON, *PERIODIC):
        for path in sorted(root.glob(pattern)):
            yield from (
                Line(str(path), path, line)
                for line in beginning(path, most_bytes=MOST_BYTES).splitlines()
                if not line.startswith("#")
            )


def _scripts(command: str, root: Path) -> Iterator[tuple[Path, str]]:
    """Yield the lines of the scripts that a command runs: what kills is seldom written in the unit itself."""
    try:
        words = shlex.split(command.lstrip("-@:+!"))
    except ValueError:
        return
    for word in words[:3]:
        path = root / word.removeprefix("/")
        if not word.startswith("/") or path.suffix not in ("", ".sh", ".bash"):
            continue
        text = beginning(path, most_bytes=MOST_BYTES)
        if text.startswith("#!"):
            yield from ((path, line) for line in text.splitlines() if not line.lstrip().startswith("#"))


def _unreadable(root: Path) -> Iterator[Path]:
    for path in (root / "var/spool/cron/crontabs",):
        try:
            list(path.iterdir())
        except PermissionError:
            yield path
        except OSError:
            continue
