"""A keeper whose world a test is: its errands are only written down, and the test turns its clock."""

from supervisor.core.events import Verb
from supervisor.core.incident import Incident
from supervisor.core.observations import CanaryEnded, CpuSeen, EngineSeen, Kind, Life, ProgressSeen, Reply, Slot
from supervisor.core.policy import Policy
from supervisor.core.state import Phase, State
from supervisor.guard import Guard
from supervisor.messages import Due, Identity, Message, Wish
from supervisor.turn import Keeper
from tests.fakes.errands import Ledger

POLICY = Policy()
PLANNER = Identity(
    name="planner",
    kind="backend",
    url="http://127.0.0.1:8092",
    models=("planner",),
    restartable=True,
    has_counters=True,
)


class Story:
    """A keeper whose world we are."""

    def __init__(
        self,
        *,
        phase: Phase = Phase.UNKNOWN,
        identity: Identity = PLANNER,
        guard: Guard | None = None,
        incident: Incident | None = None,
    ) -> None:
        self.now = 5000.0
        self.slept_s = 0.0
        self.ledger = Ledger()
        self.answers: list[bool] = []
        self.keeper = Keeper(
            identity,
            policy=POLICY,
            errands=self.ledger,
            publish=self.ledger.publish,
            pace=self.ledger.pace,
            guard=guard or Guard([identity.name]),
            state=State(phase=phase, since=self.now),
            incident=incident,
            clock=lambda: self.now,
            slept_s=lambda: self.slept_s,
            chance=lambda: 0.0,
        )

    def phase(self) -> Phase:
        return self.keeper.state.phase

    def happens(self, *messages: Message, after_s: float = 0.0) -> list[str]:
        """Let time pass and messages arrive; return what the keeper asked for and told."""
        self.now += after_s
        before = len(self.ledger.lines)
        for message in messages:
            self.keeper.turn(message)
        return self.ledger.lines[before:]

    def running(self, instance: str = "one") -> EngineSeen:
        return EngineSeen(life=Life.RUNNING, instance=instance, age_s=3.0, pid=42)

    def counters(self, reply: Reply = Reply.ANSWERED, *, decoded: int | None = None) -> ProgressSeen:
        slots = (Slot(id=0, busy=decoded is not None, task=1, decoded=decoded or 0, prefilled=0),)
        answered = reply is Reply.ANSWERED
        return ProgressSeen(
            instance=self.keeper.evidence.instance,
            reply=reply,
            slots=slots if answered else (),
            kind=Kind.LLAMA_CPP,
        )

    def canary(self, reply: Reply = Reply.ANSWERED) -> CanaryEnded:
        evidence = self.keeper.evidence
        return CanaryEnded(instance=evidence.instance, attempt=evidence.canary_attempt, reply=reply, first_token_s=0.04)

    def idle_cpu(self) -> CpuSeen:
        return CpuSeen(instance=self.keeper.evidence.instance, burned_s=0.0, over_s=1.0)

    def wish(self, verb: Verb, *, drains: bool = False) -> Wish:
        return Wish(verb, self.answers.append, drains)

    def comes_up(self) -> None:
        self.happens(Due(), self.running())
        self.happens(self.counters())
        self.happens(self.canary())

    def hangs(self) -> None:
        for _ in range(12):
            self.happens(Due(), self.counters(Reply.SILENT), self.idle_cpu(), after_s=1.0)
