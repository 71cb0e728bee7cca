"""What one look at a target saw, before anyone interprets it.

Every observation is tagged with the instance it is about; one of an earlier life says nothing about this one.
"""

from dataclasses import dataclass
from enum import StrEnum


class Life(StrEnum):
    """What the engine says about a target's process or container."""

    RUNNING = "running"
    EXITED = "exited"  # also created and never started
    PAUSED = "paused"
    RESTARTING = "restarting"  # the engine's own restart policy is at work: stay out
    MISSING = "missing"  # the engine has nothing of that name


class Reply(StrEnum):
    """How a server answered one request of ours."""

    ANSWERED = "answered"
    ASLEEP = "asleep"  # it has put its model away until somebody asks for it
    LOADING = "loading"  # 503: the model is not in memory yet
    REFUSED = "refused"  # nobody listens
    RESET = "reset"  # accepted and dropped: a port proxy whose server has not bound yet, or died
    SILENT = "silent"  # nothing came in time
    DENIED = "denied"  # 4xx: our request is wrong for this server (key, path, template)
    OVERLOADED = "overloaded"  # 429: the server is alive and has too much to do
    FAILED = "failed"  # 5xx
    INVALID = "invalid"  # status 200, and not an answer: garbage, truncated, an error in disguise
    UNSUPPORTED = "unsupported"  # the server has no such endpoint
    NOT_RUN = "not_run"  # our fault, not the target's: no file handles, no socket


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSeen:
    """The engine's own account of a target.

    `instance` names one life (container id and start time); None where nothing has ever run. `stopped_by_operator`
    is True where somebody other than us asked for the exit or the pause.
    """

    life: Life
    instance: str | None = None
    age_s: float | None = None  # how long this instance has been running
    pid: int | None = None
    started_at: str | None = None  # wall clock, ISO 8601, for people
    ended_at: str | None = None
    exit_code: int | None = None
    oom_killed: bool = False
    stopped_by_operator: bool = False
    detail: str = ""  # the engine's own words, e.g. why the last start failed


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSilent:
    """The engine could not be asked."""

    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One inference slot's counters; `task` is None before the slot's first request."""

    id: int
    busy: bool
    task: int | None
    decoded: int
    prefilled: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressSeen:
    """The server's own counters: `slots` where it answered, the manner of its silence otherwise.

    `took_s` is how long the look lasted: a server that said nothing in that time has been silent since its beginning.
    """

    instance: str | None
    reply: Reply
    took_s: float = 0.0
    slots: tuple[Slot, ...] = ()
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuSeen:
    """CPU time the target burned, in seconds of one core, over the last `over_s` seconds."""

    instance: str | None
    burned_s: float
    over_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CanarySent:
    """A canary is on its way; it is never cancelled and resent, only judged by its age."""

    instance: str | None
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryEnded:
    """A canary came back, one way or another. `first_token_s` counts from sending to the first byte of an answer."""

    instance: str | None
    attempt: int
    reply: Reply
    first_token_s: float | None = None
    detail: str = ""


Observation = EngineSeen | EngineSilent | ProgressSeen | CpuSeen | CanarySent | CanaryEnded
