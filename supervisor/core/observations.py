"""What one look at a target saw, before anyone interprets it.

Every observation is tagged with the instance it is about; one of an earlier life says nothing about this one.
"""

from dataclasses import dataclass, field
from enum import StrEnum


class Life(StrEnum):
    """What the engine says about a target's process or container."""

    RUNNING = "running"
    CREATED = "created"  # somebody has made it, and will start it
    EXITED = "exited"  # also where its start has failed
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
    EXCUSED = "excused"  # bad, through a router whose backend may be to blame
    UNSUPPORTED = "unsupported"  # the server has no such endpoint
    NOT_RUN = "not_run"  # our fault, not the target's: no file handles, no socket


class Kind(StrEnum):
    """Which server software it is, by its fingerprint or because the settings say so."""

    LLAMA_CPP = "llama.cpp"
    LLAMA_CPP_PYTHON = "llama-cpp-python"
    VLLM = "vllm"
    SGLANG = "sglang"
    TGI = "tgi"
    OLLAMA = "ollama"
    OTHER = "other"  # OpenAI-style, and nothing more is known


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
    uses_gpu: bool | None = None  # it was given a GPU, whether or not we see what it does there; None: nobody tells
    sleep_idle_s: float | None = None  # its arguments tell it to put its model away when idle for so long
    restart_policy: str | None = None  # by which the engine brings it back without us, in the engine's words
    detail: str = ""  # the engine's own words, e.g. why the last start failed
    signalled: str = ""  # the signal by which it ended, that an operator had us send: such as "SIGTERM"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSilent:
    """The engine could not be asked."""

    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One inference slot's counters; `task` is None before the slot's first request.

    A server that batches without slots of its own is shown as one slot, busy while it has any request.
    """

    id: int
    busy: bool
    task: int | None
    decoded: int
    prefilled: int
    drafted: int = 0  # tokens a draft model proposed, where the server counts them
    cached: int | None = field(default=None, compare=False)  # idle: tokens it keeps of the last one; None: not told

    @property
    def is_reading(self) -> bool:
        """Whether it has a request and not one token of the answer yet: its prompt may be long."""
        return self.busy and self.decoded == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressSeen:
    """The server's own counters: `slots` where it answered, the manner of its silence otherwise.

    `took_s` is how long the look lasted: a server that said nothing in that time has been silent since its beginning.
    """

    instance: str | None
    reply: Reply
    took_s: float = 0.0
    slots: tuple[Slot, ...] = ()
    kind: Kind | None = None  # None: it has not told us
    queued: int | None = None  # requests that wait for a slot, where the server counts them
    sleeps: bool = False  # it puts its model away when idle, so being asked too often would keep it up
    gently: bool = False  # only what lets it fall asleep was asked
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuSeen:
    """What the target's processes did over the last `over_s` seconds; `burned_s` is in seconds of one core."""

    instance: str | None
    burned_s: float
    over_s: float
    gpu_share: float | None = None  # of one GPU's time, 0 to 1; None: it is on no GPU that we can see
    gpu_is_unknown: bool = False  # it is on a GPU, and nobody can tell what it does there
    waits_for_disk: bool = False  # a thread of it sleeps in the kernel where no signal reaches: a disk, a network share


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficSeen:
    """What a router reports of one real request that ended `age_s` seconds ago.

    `instance` is the life that it went to, None where the router does not know. A failure is a reason to look closer,
    and several to send nobody there; it never leads to a restart by itself: it may be the request's fault.
    """

    instance: str | None
    ok: bool
    age_s: float = 0.0
    first_token_s: float | None = None  # from when that server was asked, its queue included
    detail: str = ""


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


Observation = EngineSeen | EngineSilent | ProgressSeen | CpuSeen | TrafficSeen | CanarySent | CanaryEnded
