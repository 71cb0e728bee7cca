"""One program of ours and the processes around it: born, found again after our own death, told to go, buried.

Decides nothing. A child leads a session and a group of its own, so that what it forks can be told from us and ended
with it.
"""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import psutil

from supervisor.engines.masked import without_secrets

KILLED_BY = 128  # the exit code of what signal n ended is 128 + n, as shells and Docker have it
SAME_BIRTH_S = 0.02  # the kernel counts in hundredths
# Ours, and not for a model server to read or to answer.
NOT_INHERITED = ("BENCHAI_SUPERVISOR_", "NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to run; `environment` comes on top of our own."""

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What must be known about a child to find it again. `born_s` counts from the boot: setting the clock leaves it."""

    pid: int
    born_s: float
    started_at: float  # wall time
    ended_at: float | None = None
    exit_code: int | None = None
    detail: str = ""


def load(path: Path) -> Record | None:
    """Return the record kept at `path`; None where there is none that can be read."""
    try:
        return Record(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def save(record: Record, path: Path) -> None:
    """Write `record` so that a reader finds the old one or the new one, never half."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(asdict(record)))
    part.replace(path)


class Child:
    """A program that runs, or did; `record` says which."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self._is_forked_by_us = False
        self._was_seen_alive = False  # in this life of ours: only then is its group known to be its own

    @classmethod
    def spawn(cls, program: Program, *, log: Path, now: float) -> "Child":
        """Run `program`, its output appended to `log` by itself: it must be able to go on without us.

        Raises OSError where it cannot be run.
        """
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(NOT_INHERITED)}
        output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            process = subprocess.Popen(  # noqa: S603 - the operator's own command, and no shell
                program.command,
                cwd=program.cwd,
                env=inherited | dict(program.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        finally:
            os.close(output)
        process.returncode = 0  # we wait for it ourselves, as we do for children that we did not fork
        child = cls(Record(pid=process.pid, born_s=_born_s(process.pid) or 0.0, started_at=now))
        child._is_forked_by_us = child._was_seen_alive = True
        return child

    @property
    def pid(self) -> int:
        """Its process id, and its group's."""
        return self.record.pid

    @property
    def is_buried(self) -> bool:
        """Whether it has ended and everything is known that can be known about that."""
        return self.record.ended_at is not None

    def has_ended(self) -> bool:
        """Whether it has ended, buried or not; while our own child is not buried, nobody else gets its number."""
        if self.is_buried:
            return True
        if self._is_forked_by_us:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        born_s = _born_s(self.pid)
        lives = born_s is not None and abs(born_s - self.record.born_s) <= SAME_BIRTH_S
        self._was_seen_alive |= lives
        return not lives

    def is_gone(self) -> bool:
        """Whether it has ended, and all of its group; while threads of it still end, it may look dead."""
        return not self.members() and self.has_ended()

    def signal_group(self, number: signal.Signals) -> None:
        """Send a signal to it and to everything it forked that stayed in its group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def bury(self, *, now: float) -> None:
        """Kill what is left of its group, take note of how it ended, and free its number."""
        # What died while nobody watched may have left its number to a stranger; so may have a reboot.
        if self._was_seen_alive and _born_s(self.pid) is None:
            self.signal_group(signal.SIGKILL)
        try:
            _, status = os.waitpid(self.pid, os.WNOHANG)
            exit_code, detail = decode(os.waitstatus_to_exitcode(status))
        except ChildProcessError:
            exit_code, detail = None, "nobody saw how it ended: an earlier daemon had started it"
        self.record = replace(self.record, ended_at=now, exit_code=exit_code, detail=detail)

    def members(self) -> list[psutil.Process]:
        """Return the living processes of its group."""
        return [process for pid in psutil.pids() if (process := self._member(pid)) is not None]

    def family(self) -> dict[int, psutil.Process]:
        """Return its group and its descendants by their number, those included that have left the group."""
        family = {process.pid: process for process in self.members()}
        with contextlib.suppress(psutil.NoSuchProcess):
            family |= {process.pid: process for process in psutil.Process(self.pid).children(recursive=True)}
        return family

    def cpu_s(self) -> float:
        """Return the CPU seconds of its family."""
        return sum(_spent_s(process) for process in self.family().values())

    def _member(self, pid: int) -> psutil.Process | None:
        try:
            process = psutil.Process(pid) if os.getpgid(pid) == self.pid else None
            return process if process and process.status() != psutil.STATUS_ZOMBIE else None
        except (ProcessLookupError, psutil.NoSuchProcess):
            return None


def decode(code: int) -> tuple[int, str]:
    """Return the exit code as shells count it, and what it means in words where it means a signal."""
    if code >= 0:
        return code, ""
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return KILLED_BY - code, f"killed by {name}"


def why_not(error: OSError, program: Program) -> str:
    """Return why a program could not be run, and what to do about it."""
    told = str(error)
    if error.filename is not None:  # a whole command line, where somebody has forgotten to divide it
        told = f"[Errno {error.errno}] {error.strerror}: {without_secrets(str(error.filename))!r}"
    if isinstance(error, FileNotFoundError) and program.cwd is not None and not program.cwd.is_dir():
        return f"its working directory {program.cwd} does not exist"
    if isinstance(error, FileNotFoundError):
        return f"{told}; install it, or give its full path in `command`"
    if isinstance(error, PermissionError):
        return f"{told}; is it executable (chmod +x), and may we write to the state directory?"
    return told


def stamp(at: float) -> str:
    """Return wall time as ISO 8601, UTC, milliseconds."""
    return datetime.fromtimestamp(at, tz=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _born_s(pid: int) -> float | None:
    """Return when a living process was born, in seconds since the boot."""
    try:
        process = psutil.Process(pid)
        is_alive = process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
        return round(process.create_time() - psutil.boot_time(), 2) if is_alive else None
    except psutil.NoSuchProcess:
        return None


def _spent_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    # What its children burned that are no more counts too, or the sum would fall when one ends.
    return float(times.user + times.system + times.children_user + times.children_system)
