"""What can happen to a target's state: it was judged, somebody asked for something, an engine call came back."""

from dataclasses import dataclass
from enum import StrEnum

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
    """An operator wants something done."""

    verb: Verb


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The engine did what we asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The engine did not do what we asked: `reason` in CamelCase, `message` in its own words.

    `counts` is False where nothing was tried because the engine could not be reached: that spends no budget.
    """

    reason: str
    message: str
    counts: bool = True


Event = Judged | Asked | Ended | Failed
