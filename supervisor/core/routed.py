"""The way through a router: what to ask it for next, and whether a bad answer is its own fault.

Pure. A router is judged against what its backends answer directly: direct good and routed bad is the router; where a
backend may do no better when it is asked itself, the router is excused.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from supervisor.core.observations import CanaryEnded, Reply
from supervisor.core.policy import Policy

ITS_OWN = frozenset({Reply.ANSWERED, Reply.REFUSED, Reply.NOT_RUN})  # no backend has a part in these
LOOKS = 3  # by then a backend that swallowed the canary is under suspicion itself
SPARED_S = 60.0  # a router nobody asks for anything is asked itself, though it may cost a user a conversation's cache
UNTOLD_S = 60.0  # where no backend could answer, it is asked so seldom, to see whether it is there at all


@dataclass(frozen=True, slots=True, kw_only=True)
class Direct:
    """How one backend does when it is asked directly; times are monotonic seconds."""

    models: tuple[str, ...]
    ill: str = ""  # why it may not answer at once now, in a phrase; empty: it is up, and serves nobody that we know of
    is_gone: bool = False  # it does not run: whoever asks it is refused at once, and kept waiting by something else
    answered_at: float | None = None  # when it last answered a canary of ours that went past the router
    users_at: float | None = None  # the last sign of a user's request
    keeps: bool = False  # it keeps that user's conversation where a canary would push it out
    sleeps: bool = False  # it is meant to put its model away when nobody asks
    deadline_s: float = 0.0  # how late its answer may come


Directs = Mapping[str, Direct]  # by the backend's name


def behind(alias: str, directs: Directs) -> dict[str, Direct]:
    """Return the backends that may answer for `alias`: those that have it, all where none does, such as `auto`."""
    named = {name: each for name, each in directs.items() if alias in each.models}
    return named or dict(directs)


def weigh(seen: CanaryEnded, alias: str, directs: Directs, *, doubted_at: float | None) -> CanaryEnded:
    """Return what came of a canary through the router: a bad answer that a backend may be behind is excused.

    `doubted_at` is when it disappointed last, where it did: from then on only what was proven directly since counts.
    """
    if seen.reply in ITS_OWN:
        return seen
    if why := _excuse(seen.reply, behind(alias, directs), doubted_at=doubted_at):
        return excused(seen, alias, why)
    return replace(seen, detail=f"{alias}: {seen.detail or seen.reply}, and {_names(behind(alias, directs))} directly")


def excused(seen: CanaryEnded, alias: str, why: str) -> CanaryEnded:
    """Return what came of it as nothing that is held against the router."""
    return replace(seen, reply=Reply.EXCUSED, detail=f"{alias}: {seen.detail or seen.reply}, but {why}")


def limit_s(alias: str, directs: Directs, *, policy: Policy) -> float:
    """Return how long a canary through a router is waited for: no shorter than its backends may take themselves."""
    deadlines_s = (each.deadline_s for each in behind(alias, directs).values())
    return max(policy.canary_deadline_s, LOOKS * policy.tick_s + policy.look_timeout_s, *deadlines_s)


def next_alias(
    aliases: tuple[str, ...], last: str | None, directs: Directs, *, policy: Policy, quiet_s: float, now: float
) -> str | None:
    """Return the alias to ask for next, in turn after `last`; None: nothing that is worth asking for now.

    An alias whose backends could not answer tells little, one whose server should fall asleep is let, and one whose
    users may come back for what its backend keeps is asked for last. `quiet_s` ago the router was last asked.
    """
    start = aliases.index(last) + 1 if last in aliases else 0
    in_turn = [alias for alias in (*aliases[start:], *aliases[:start]) if _may_be_asked(alias, directs, now=now)]
    worth = [alias for alias in in_turn if any(not each.ill for each in behind(alias, directs).values())]
    if not worth:
        return in_turn[0] if in_turn and quiet_s >= UNTOLD_S else None
    free = [alias for alias in worth if not _spares(alias, directs, policy=policy, now=now)]
    if free:
        return free[0]
    users_at = {alias: max(_times(behind(alias, directs).values()), default=0.0) for alias in worth}
    if now - max(users_at.values()) < SPARED_S:
        return None  # its users tell how it is
    return min(worth, key=lambda alias: users_at[alias])


def _excuse(reply: Reply, there: Directs, *, doubted_at: float | None) -> str:
    waited_for = {name: each for name, each in there.items() if not (each.is_gone and reply is Reply.SILENT)}
    if not waited_for:
        return "none of its backends could answer"
    for name, each in waited_for.items():
        if each.ill:
            return f"{name} {each.ill}"
        if doubted_at is not None and (each.answered_at is None or each.answered_at <= doubted_at):
            return f"{name} has not answered directly since"
    return ""


def _may_be_asked(alias: str, directs: Directs, *, now: float) -> bool:
    """Whether asking keeps no server up that should fall asleep, for longer than its users do."""
    sleepers = [each for each in behind(alias, directs).values() if each.sleeps]
    return all(each.users_at is not None and now - each.users_at < 2 * SPARED_S for each in sleepers)


def _spares(alias: str, directs: Directs, *, policy: Policy, now: float) -> bool:
    keeping = [each for each in behind(alias, directs).values() if each.keeps]
    return any(now - at < policy.spare_s for at in _times(keeping))


def _times(directs: Iterable[Direct]) -> list[float]:
    return [each.users_at for each in directs if each.users_at is not None]


def _names(directs: Directs) -> str:
    names = list(directs)
    return f"{', '.join(names)} {'answers' if len(names) == 1 else 'answer'}"
