"""What a keeper hears, and what it may send for: the seam between the turns and the slow work beside them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from supervisor.core.actions import Act
from supervisor.core.baseline import Baseline
from supervisor.core.cause import Cause
from supervisor.core.decide import Hindrance
from supervisor.core.events import Cleared, Ended, Failed, Verb
from supervisor.core.incident import Incident
from supervisor.core.observations import EngineSeen, Observation, Reply
from supervisor.core.policy import Policy
from supervisor.core.recording import Recording
from supervisor.core.state import Transition
from supervisor.core.verdict import Judgement


@dataclass(frozen=True, slots=True)
class Due:
    """It is time for a look."""


@dataclass(frozen=True, slots=True)
class Wish:
    """An operator wants something done; `answer` hears at once whether it will be tried: one engine call at a time.

    `drains`: whoever is being served may be served to the end first.
    """

    verb: Verb
    answer: Callable[[bool], None]
    drains: bool = False


@dataclass(frozen=True, slots=True)
class EngineStirred:
    """The engine says that something happened to the target; what it was, an inspection tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resettled:
    """The settings have changed, and what was seen of the target is true all the same."""

    identity: "Identity"
    policy: Policy


@dataclass(frozen=True, slots=True)
class Hindered:
    """No canary can be sent now."""

    why: Hindrance


@dataclass(frozen=True, slots=True)
class Sent:
    """A canary is out since then (monotonic seconds), whoever it was sent for."""

    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A canary has come back, one way or another."""

    reply: Reply
    first_token_s: float | None
    detail: str


@dataclass(slots=True, eq=False)
class Probe:
    """Somebody wants a canary now; `tell` hears how that stands, as often as it changes. `wakes`: a sleeper's too.

    Whoever waits no longer sets `is_withdrawn`, and then none is sent for him.
    """

    tell: Callable[[Hindered | Sent | Answered], None]
    wakes: bool = False
    is_withdrawn: bool = False


Message = Due | EngineStirred | Resettled | Observation | Wish | Ended | Failed | Cleared | Probe


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a target is, by the settings: none of this is seen."""

    name: str
    kind: str
    url: str
    models: tuple[str, ...]
    restartable: bool
    has_counters: bool  # there is a progress witness, so a look brings an answer of its own
    sleeps_after_s: float | None = None  # set by hand; None: as its arguments say
    stands_in_for: str | None = None  # it runs only where that one cannot be had


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is known of a target that something is about to be done to, for whoever looks into it before."""

    instance: str | None  # the life that was judged; nothing is done to another one
    incident: str  # the trouble it is in; empty: none, an operator asked
    judgement: Judgement
    as_of: float  # monotonic seconds; the judgement's times are measured from here
    recording: Recording = Recording()  # noqa: RUF009 - frozen; what was seen lately, to be judged again by other thresholds
    policy: Policy = Policy()  # noqa: RUF009 - frozen; as it was set, without what was learned


class Errands(Protocol):
    """The slow work a turn may send for; each errand comes back as a message, and none is sent twice at once."""

    def inspect(self) -> None:
        """Ask the engine about the target."""
        ...

    def look(self, instance: str | None, *, engine: EngineSeen | None, with_cpu: bool, gently: bool) -> None:
        """Read the server's counters, and with them what it burns; a silent server's CPU is asked for in any case.

        `gently` asks only what lets it fall asleep.
        """
        ...

    def send_canary(
        self, instance: str | None, attempt: int, slot: int | None, *, model: str | None = None, limit_s: float
    ) -> None:
        """Send a real inference request, for `model` where it is not the usual one; let go after `limit_s`."""
        ...

    def act(self, act: Act, case: Case) -> None:
        """Have the engine do it, after routers were told, it was written down and looked into."""
        ...

    def note(self, act: Act, case: Case) -> None:
        """Look into it and write down that it would have been done."""
        ...

    def watch_cure(self, cause: Cause) -> None:
        """Look whether anything has changed about what stands in the way of a restart; a change comes back."""
        ...

    def keep_incident(self, incident: Incident, *, instead_of: str | None = None) -> None:
        """Write an incident down where it survives us; `instead_of` is the name it went by before."""
        ...

    def record(self, transition: Transition, instance: str | None, *, incident: str | None) -> None:
        """Write a change of phase where it survives us, with the id of the incident that it is a part of."""
        ...

    def remember(self, baseline: Baseline) -> None:
        """Write down what was learned of the target."""
        ...

    @property
    def is_acting(self) -> bool:
        """Whether an engine call is under way."""
        ...

    def forget(self) -> None:
        """Drop what is still asked of an instance that is no more."""
        ...
