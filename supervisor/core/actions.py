"""What may be done about a target. The order they come in is the order they are done in."""

from dataclasses import dataclass

from supervisor.core.events import Verb
from supervisor.core.state import Transition


@dataclass(frozen=True, slots=True, kw_only=True)
class Announce:
    """Tell routers and people what is believed now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Write the transition where it survives us."""

    transition: Transition


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Ask the engine to start, stop or restart the target, giving it `grace_s` to go by itself.

    `insists`: although its cause may be one that outlasts a restart; that is tried now and then. `eases`: where its
    server can end one model and go on, that is enough for now. `spends`: it counts as a restart for a trouble.
    """

    verb: Verb
    grace_s: float
    by_operator: bool
    insists: bool = False
    eases: bool = False
    spends: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Write down what would have been done, with the evidence for it: we are only observing."""

    act: Act


Action = Announce | Record | Act | Note
