"""Keeps who has asked one target's keeper for a canary, until each has been told what came of it; decides nothing."""

from collections.abc import Callable

from supervisor.core.decide import Hindrance, hindrance
from supervisor.core.evidence import Evidence
from supervisor.core.observations import CanaryEnded
from supervisor.core.policy import Policy
from supervisor.core.state import Phase, State
from supervisor.messages import Answered, Hindered, Probe, Sent


class Asks:
    """Those who wait for the next canary to come back: the one that is out already, or else one for them."""

    def __init__(self) -> None:
        self._waiting: list[Probe] = []

    def take(self, probe: Probe) -> None:
        """Take down a wish for a canary."""
        self._waiting.append(probe)

    def leave(self) -> list[Probe]:
        """Return those who wait, for whoever watches the target from now on."""
        waiting, self._waiting = self._waiting, []
        return waiting

    @property
    def are_open(self) -> bool:
        """Whether anybody waits; whoever has gone waits no more."""
        self._waiting = [each for each in self._waiting if not each.is_withdrawn]
        return bool(self._waiting)

    @property
    def _may_wake(self) -> bool:
        """Whether one of them wants it even if that wakes the target."""
        return any(each.wakes for each in self._waiting)

    def serve(
        self,
        state: State,
        evidence: Evidence,
        *,
        policy: Policy,
        now: float,
        send: Callable[[float], bool],
        waits: bool,
    ) -> None:
        """Tell them how it stands, and `send` a canary for them unless one is out, or it would hurt somebody.

        `waits`: not in this turn. A look that is due goes alone: it would take our own canary for somebody's work.
        """
        if not self.are_open:
            return
        if evidence.canary_since is not None:
            self._tell(Sent(evidence.canary_since))
        elif state.phase.is_ours or state.phase is Phase.DRAINING:
            self._tell(Hindered(Hindrance.BEING_ENDED))
        elif hinders := hindrance(evidence, policy=policy, now=now, wakes=self._may_wake):
            self._tell(Hindered(hinders))
        elif not waits:
            self._tell(Sent(now) if send(now) else Hindered(Hindrance.NO_WAY))

    def ended(self, seen: CanaryEnded | None) -> None:
        """Tell them what came of it, if it has ended, which is all they wanted."""
        if seen is None:
            return
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.tell(Answered(reply=seen.reply, first_token_s=seen.first_token_s, detail=seen.detail))

    def _tell(self, how: Hindered | Sent) -> None:
        for each in self._waiting:
            each.tell(how)
