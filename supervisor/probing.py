"""What an operator's probe comes to: one canary by the target's own keeper, or why none could be sent."""

import asyncio
from collections.abc import Mapping

from supervisor.core.decide import Hindrance
from supervisor.core.observations import Reply
from supervisor.core.state import WELL
from supervisor.core.verdict import Verdict
from supervisor.messages import Answered, Hindered, Probe, Sent
from supervisor.publish.services import Probed
from supervisor.turn import Keeper

MOMENT_S = 6.0  # in which a server that would cut its users off shows by its CPU whether it has any
LEAST_S = 0.2  # a keeper answers in its next turn
CANCELLED_NEVER = "the canary stays out, and is judged by its age"
Heard = Answered | Hindered | Sent | None


class Prober:
    """Asks keepers for canaries, and waits for what comes of them."""

    def __init__(self, keepers: Mapping[str, Keeper], *, moment_s: float = MOMENT_S) -> None:
        self._keepers = keepers
        self._moment_s = moment_s

    async def probe(self, name: str, *, wait_s: float, patient: bool, wakes: bool) -> Probed:
        """Return what came of it within `wait_s`; `patient` waits for a free slot, `wakes` may wake the target."""
        heard: asyncio.Queue[Answered | Hindered | Sent] = asyncio.Queue()
        probe = Probe(heard.put_nowait, wakes)
        keeper = self._keepers.get(name)
        if keeper is not None:
            keeper.post(probe)
        last: Heard = None
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + max(wait_s, LEAST_S)
        gives_up_at = min(ends_at, loop.time() + self._moment_s)
        try:
            while True:
                waits_for_leave = isinstance(last, Hindered) and not patient
                async with asyncio.timeout_at(gives_up_at if waits_for_leave else ends_at):
                    last = await heard.get()
                if isinstance(last, Answered) or _is_final(last, patient=patient):
                    break
        except TimeoutError:
            pass
        finally:
            probe.is_withdrawn = True
        return self._told(name, last, wait_s=wait_s)

    def _told(self, name: str, last: Heard, *, wait_s: float) -> Probed:
        keeper = self._keepers.get(name)
        if keeper is None:
            gone = "not asked: it is watched no more, since the settings have changed"
            return Probed(asked=False, ok=False, reply=None, first_token_s=None, detail=gone)
        state = keeper.state
        match last:
            case Answered():
                ok = last.reply is Reply.ANSWERED
                detail = last.detail or (str(last.reply) if not ok else "answered")
                return Probed(asked=True, ok=ok, reply=last.reply, first_token_s=last.first_token_s, detail=detail)
            case Hindered():
                ok, asked, detail = state.phase in WELL, False, f"not asked: {last.why}"
            case Sent():
                # A slow model is not a broken one: where it moves, it is only not our turn yet.
                ok, asked = state.judgement.verdict is Verdict.BUSY, True
                detail = f"no answer within {wait_s:g}s; {CANCELLED_NEVER}"
            case None:
                ok, asked, detail = False, False, "not asked: our own loop is late, see GET /livez"
        return Probed(asked=asked, ok=ok, reply=None, first_token_s=None, detail=detail)


def _is_final(heard: Heard, *, patient: bool) -> bool:
    """Whether waiting would change nothing, or is not wanted."""
    if not isinstance(heard, Hindered):
        return False
    match heard.why:
        case Hindrance.BUSY:
            return not patient
        case Hindrance.MAY_CUT_OFF:
            return False
        case _:
            return True
