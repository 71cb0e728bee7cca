"""What can happen to a target's state: it was judged, somebody asked for something, an engine call came back."""

from dataclasses import dataclass
from enum import StrEnum

from supervisor.core.cause import Diagnosis
from supervisor.core.verdict import Judgement


class Verb(StrEnum):
    """What an operator may ask for."""

    START = "start"
    STOP = "stop"
    RESTART = "restart"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The evidence was weighed."""

    judgement: Judgement


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Somebody wants something done that no trouble demands: an operator, or where `why` says so, we ourselves.

    `drains`: whoever is being served may be served to the end first.
    """

    verb: Verb
    drains: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """Nobody is being served any more, or it took too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What we asked for was done; `diagnosis` is what was found out right before, where it was we who decided it.

    `eased`: the server has ended one model alone, and goes on in the same life.
    """

    diagnosis: Diagnosis | None = None
    eased: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The engine did not do what we asked: `reason` in CamelCase, `message` in its own words.

    `counts` is False where nothing was tried: that spends no budget.
    """

    reason: str
    message: str
    counts: bool = True
    diagnosis: Diagnosis | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleared:
    """Something has changed about what stood in the way of every restart: `what`, in a phrase."""

    what: str


Event = Judged | Asked | Drained | Ended | Failed | Cleared
