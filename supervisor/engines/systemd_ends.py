"""How the last life of a service ended: by itself, by somebody's wish, or because systemd had enough of it. Pure.

systemd keeps no word for "stopped by hand". But it notes when a unit ceased to be active, and when its main process
ended: whoever ends by itself ends first, and whoever is told to go is no longer active while still there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

EXITED = 1  # CLD_EXITED: a code, and no signal
KILLED_BY = 128  # the exit code of what signal n ended is 128 + n
# systemd itself ended these.
BY_SYSTEMD = frozenset({"watchdog", "oom-kill", "protocol", "resources", "start-limit-hit", "exec-condition"})
# Not active before they say that they are ready, however long they load.
SLOW_TO_BE_ACTIVE = frozenset({"notify", "notify-reload", "dbus", "forking"})
NEVER_US = (1 << 64) - 1
# A program that runs for longer has been started, and its exit code is its own.
SET_UP_WITHIN_US = 1_000_000
SET_UP = {
    200: "CHDIR",
    201: "NICE",
    202: "FDS",
    203: "EXEC",
    204: "MEMORY",
    205: "LIMITS",
    206: "OOM_ADJUST",
    208: "STDIN",
    209: "STDOUT",
    210: "CHROOT",
    214: "SETSCHEDULER",
    215: "CPUAFFINITY",
    216: "GROUP",
    217: "USER",
    218: "CAPABILITIES",
    219: "CGROUP",
    222: "STDERR",
    224: "PAM",
    225: "NETWORK",
    226: "NAMESPACE",
    227: "NO_NEW_PRIVILEGES",
    228: "SECCOMP",
    231: "APPARMOR_PROFILE",
    233: "RUNTIME_DIRECTORY",
    238: "STATE_DIRECTORY",
    239: "CACHE_DIRECTORY",
    240: "LOGS_DIRECTORY",
    241: "CONFIGURATION_DIRECTORY",
    242: "NUMA_POLICY",
    243: "CREDENTIALS",
}
EXEC = 203  # the one that says that there is no such program, or none that may be run


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """When what happened to a unit, in microseconds of systemd's monotonic clock; 0: not since it was loaded."""

    main_start: int
    main_exit: int
    active_exit: int
    inactive_exit: int  # it began to start, or to wait for a restart of systemd's own
    inactive_enter: int
    before_main_exit: int  # of the last ExecCondition or ExecStartPre
    failed_before_main: str  # that one's program
    code_before_main: int

    @classmethod
    def of(cls, unit: Mapping[str, Any]) -> Self:
        """Read them."""
        before = [*(unit.get("ExecCondition") or []), *(unit.get("ExecStartPre") or [])]
        last = max(before, key=lambda command: int(command[6]), default=None)
        return cls(
            main_start=unit.get("ExecMainStartTimestampMonotonic", 0),
            main_exit=unit.get("ExecMainExitTimestampMonotonic", 0),
            active_exit=unit.get("ActiveExitTimestampMonotonic", 0),
            inactive_exit=unit.get("InactiveExitTimestampMonotonic", 0),
            inactive_enter=unit.get("InactiveEnterTimestampMonotonic", 0),
            before_main_exit=int(last[6]) if last else 0,
            failed_before_main=str(last[0]) if last else "",
            code_before_main=_code(last[8], last[9]) if last else 0,
        )

    @property
    def ended_before_main(self) -> bool:
        """Whether this life ended before its main process was started."""
        return self.before_main_exit > max(self.main_start, self.main_exit)

    @property
    def waited_for_restart(self) -> bool:
        """Whether it was waiting for a restart of systemd's own after its end."""
        return self.inactive_exit > max(self.main_exit, self.before_main_exit) > 0


def how_it_ended(unit: Mapping[str, Any]) -> int | None:
    """Return the exit code of its main process, or of what failed before that; None where nobody saw an end."""
    times = Times.of(unit)
    if times.ended_before_main:
        return times.code_before_main
    if not times.main_exit >= times.main_start > 0:
        return None
    return _code(unit["ExecMainCode"], unit["ExecMainStatus"])


def set_up_failure(unit: Mapping[str, Any]) -> int | None:
    """Return the status by which systemd says that it could not even run the program; None where it could."""
    times, status = Times.of(unit), unit.get("ExecMainStatus", 0)
    is_sudden = times.main_exit >= times.main_start > times.main_exit - SET_UP_WITHIN_US
    is_its_word = unit.get("ExecMainCode") == EXITED and status in SET_UP
    return int(status) if is_its_word and is_sudden and not times.ended_before_main else None


def has_given_up(unit: Mapping[str, Any]) -> bool:
    """Return whether systemd will not restart it any more, because it has done so too often."""
    times = Times.of(unit)
    if unit.get("Result") == "start-limit-hit":
        return True
    # The result stays that of the crash. But the wait was over before it gave up; a stop by hand cuts the wait short.
    waited_us = times.inactive_enter - times.inactive_exit
    return times.waited_for_restart and unit["ActiveState"] == "failed" and waited_us >= unit.get("RestartUSec", 0)


def was_asked_to_end(unit: Mapping[str, Any]) -> bool:
    """Return whether somebody, rather than a fault, ended the last life of a unit that is not active."""
    times, result = Times.of(unit), unit.get("Result", "success")
    if result in BY_SYSTEMD or has_given_up(unit) or _ran_for_too_long(unit, times):
        return False
    if times.waited_for_restart:
        return True  # systemd would have started it again
    if times.ended_before_main:
        return bool(result == "success")
    if not times.main_exit >= times.main_start > 0:
        return False
    if times.active_exit >= times.main_start:
        return times.active_exit < times.main_exit
    return unit.get("Type") in SLOW_TO_BE_ACTIVE and result == "success"


def _ran_for_too_long(unit: Mapping[str, Any], times: Times) -> bool:
    """Return whether systemd ended it when its RuntimeMaxSec was over."""
    most_us = unit.get("RuntimeMaxUSec", NEVER_US)
    lasted_us = times.active_exit - unit.get("ActiveEnterTimestampMonotonic", 0)
    return unit.get("Result") == "timeout" and most_us not in (0, NEVER_US) and lasted_us >= most_us


def _code(kind: int, status: int) -> int:
    return int(status) if kind == EXITED else KILLED_BY + int(status)
