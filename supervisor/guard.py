"""Says what holds us back: people's holds, the mode we run in, one restart at a time, a trouble that many share.

One for all targets, in the one thread that decides: whoever asks for leave and takes it is not overtaken between the
two. It holds back what nobody asked for, and never what an operator wants.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from supervisor.core.restraint import Curb, Hold, Restraint, Window, by_a_person, drained
from supervisor.core.shared import Freeze, Troubles, fell, rose
from supervisor.core.standby import Need, need
from supervisor.core.state import TROUBLED, WELL, Phase, State
from supervisor.core.verdict import NOT_STARTED, SIGNALLED, Judgement

NO_FALL = (NOT_STARTED, SIGNALLED)
PROOF_S = 60.0  # how long one that was restarted out of a shared trouble is waited for before the next one's turn


def _wall() -> datetime:
    return datetime.now(UTC).astimezone()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How we hold ourselves back, from the settings."""

    observes: bool = False
    restarts_at_once: int = 1  # on this host
    freeze: Freeze = field(default_factory=Freeze)
    windows: tuple[Window, ...] = ()
    groups: Mapping[str, str] = field(default_factory=dict)  # of targets that share a GPU, by target
    stand_ins: Mapping[str, str] = field(default_factory=dict)  # the first choice of each stand-in


class Guard:
    """Holds us back."""

    def __init__(
        self,
        names: Iterable[str],
        *,
        rules: Rules | None = None,
        holds: Iterable[Hold] = (),
        ill: Iterable[tuple[str, float]] = (),
        wall: Callable[[], datetime] = _wall,
    ) -> None:
        """`names` are the backends that we might restart: routers fail with them, which is no trouble of their own.

        `holds` are what people have said in an earlier life of ours, `ill` who was in trouble then, each since when.
        """
        self._names = tuple(names)
        self._rules = rules or Rules()
        self._holds = {(hold.target, hold.drains): hold for hold in holds}
        self._wall = wall
        self._states: dict[str, State] = {}
        self._troubles = Troubles(fallen=tuple(each for each in ill if each[0] in self._names))
        self._incidents: dict[str, str] = {}

    @property
    def mode(self) -> str:
        """The word for how we run."""
        return "observe" if self._rules.observes else "enforce"

    @property
    def holds(self) -> tuple[Hold, ...]:
        """What people have said and has not ended yet."""
        wall = self._wall()
        return tuple(hold for hold in self._holds.values() if hold.holds(hold.target, wall=wall))

    def settle(self, names: Iterable[str], rules: Rules) -> None:
        """Go by these rules from now on, for these backends; what is known of those that stay is kept."""
        self._names, self._rules = tuple(names), rules

    def meets(self, name: str, *, ill_since: float | None) -> None:
        """Take note of one that is watched from now on, and of the trouble in which it is found."""
        if ill_since is not None and name in self._names:
            self._troubles = replace(self._troubles, fallen=(*self._troubles.fallen, (name, ill_since)))

    def forget(self, name: str) -> None:
        """Know nothing more of one that is watched no more; what people have said of it stands."""
        self._states.pop(name, None)
        self._incidents.pop(name, None)
        self._troubles = rose(self._troubles, name, freeze=self._rules.freeze)

    def hold(self, hold: Hold) -> None:
        """Hold a target, or all of them, in place of what was said of it before; to drain it is another word."""
        self._holds[hold.target, hold.drains] = hold

    def release(self, target: str) -> bool:
        """End a hold, and a drain; False where there was neither."""
        return any([self.undrain(target), self._lift(target, drains=False)])

    def undrain(self, target: str) -> bool:
        """Have it sent requests again; a hold on it stands. False where it was not drained."""
        return self._lift(target, drains=True)

    def drained(self, name: str, *, now: float) -> Restraint | None:
        """Return by which word `name` is out of rotation, if it is."""
        return drained(name, holds=self._holds.values(), now=now, local=self._wall())

    def by_a_person(self, name: str, *, now: float) -> Restraint | None:
        """Return what people have said about `name`."""
        return by_a_person(name, holds=self._holds.values(), windows=self._rules.windows, now=now, local=self._wall())

    def restraint(self, name: str, *, now: float) -> Restraint | None:
        """Return what keeps us from restarting `name` now."""
        return self.by_a_person(name, now=now) or self._by_mode() or self._by_others(name, now=now)

    def hears(self, name: str, state: State, judgement: Judgement, *, now: float) -> None:
        """Take note of a verdict before it is acted upon: whoever falls with others is not restarted before them.

        One that has never been started has not fallen: at a first start that is all of them. Nor has one that ended by
        an operator's signal.
        """
        is_news = (
            judgement.verdict in TROUBLED
            and judgement.reason not in NO_FALL
            and not state.phase.is_ours
            and state.phase is not Phase.STOPPED
        )
        if is_news and name in self._names:
            self._troubles = fell(self._troubles, name, of=len(self._names), freeze=self._rules.freeze, now=now)

    def saw(self, name: str, after: State) -> None:
        """Take note of a step of one target."""
        self._states[name] = after
        if after.phase in WELL or after.phase is Phase.STOPPED or after.asked is not None:
            self._troubles = rose(self._troubles, name, freeze=self._rules.freeze)

    def need(self, name: str, *, return_after_s: float, now: float) -> Need:
        """Return whether the stand-in `name` should run."""
        first = self._states.get(self._rules.stand_ins.get(name, ""))
        return Need.UNDECIDED if first is None else need(first, return_after_s=return_after_s, now=now)

    def name_incident(self, name: str) -> str:
        """Return a new name for an incident of `name`: its time and its place."""
        return f"{self._wall().astimezone(UTC):%Y%m%d-%H%M%S}-{name}"

    def shared_incident(self, name: str, own: str) -> str:
        """Return by which name the incident `own` of `name` goes: that of the trouble it shares with others, if any."""
        self._incidents[name] = own
        members = self._troubles.members(self._rules.freeze)
        known = [self._incidents[each] for each in members if each in self._incidents]
        return known[0] if name in members and known else own

    def _lift(self, target: str, *, drains: bool) -> bool:
        wall, hold = self._wall(), self._holds.pop((target, drains), None)
        return hold is not None and hold.holds(target, wall=wall)

    def _by_mode(self) -> Restraint | None:
        if not self._rules.observes:
            return None
        return Restraint(curb=Curb.OBSERVING, message="only observing")

    def _by_others(self, name: str, *, now: float) -> Restraint | None:
        freeze = self._rules.freeze
        if self._troubles.is_frozen(freeze, now=now):
            members = self._troubles.members(freeze)
            message = f"{len(members)} of {len(self._names)} targets failed at once, so nobody is restarted yet"
            until = (self._troubles.shared_since or now) + freeze.lasts_s
            return Restraint(curb=Curb.SHARED_CAUSE, message=message, until=until)
        first = [other for other in self._states if other != name and self._goes_first(other, name, now=now)]
        if first:
            return _after(first)
        under_way = [other for other in self._states if other != name and self._is_in(other, Phase.RESTARTING)]
        return _after(under_way) if len(under_way) >= self._rules.restarts_at_once else None

    def _goes_first(self, other: str, name: str, *, now: float) -> bool:
        """Whether `other` is close to `name`, is being restarted, and has yet to show that it helped."""
        members, group = self._troubles.members(self._rules.freeze), self._rules.groups.get(name)
        share_a_gpu = group is not None and self._rules.groups.get(other) == group
        if not share_a_gpu and not (name in members and other in members):
            return False
        is_proving = self._is_in(other, Phase.STARTING) and now - self._states[other].since < PROOF_S
        return is_proving or self._is_in(other, Phase.RESTARTING)

    def _is_in(self, name: str, phase: Phase) -> bool:
        return name in self._states and self._states[name].phase is phase


def _after(others: list[str]) -> Restraint:
    return Restraint(curb=Curb.ONE_AT_A_TIME, message=f"{others[0]} is restarted first")
