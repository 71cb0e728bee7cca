"""The way through a router: what to ask it for next, and whether a bad answer is its own fault.

Pure. A router is judged against what its backends answer directly: direct good and routed bad is the router; where a
backend does no better when it is asked itself, the router is excused.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from supervisor.core.observations import CanaryEnded, Reply
from supervisor.core.policy import Policy

ITS_OWN = frozenset({Reply.ANSWERED, Reply.REFUSED, Reply.NOT_RUN})  # no backend has a part in these
LOOKS = 3  # by then a backend that swallowed the canary is under suspicion itself
SPARED_S = 60.0  # a router nobody asks for anything is asked itself, though it may cost a user a conversation's cache


@dataclass(frozen=True, slots=True, kw_only=True)
class Direct:
    """How one backend does when it is asked directly; times are monotonic seconds."""

    models: tuple[str, ...]
    sound_since: float | None = None  # up and idle, with nothing that speaks against it, all the time since
    why: str = ""  # it is not sound, in a phrase
    users_at: float | None = None  # the last sign of a user's request
    keeps: bool = False  # it keeps that user's conversation where a canary would push it out


Directs = Mapping[str, Direct]  # by the backend's name


def behind(alias: str, directs: Directs) -> dict[str, Direct]:
    """Return the backends that may answer for `alias`: those that have it, all where none does, such as `auto`."""
    named = {name: each for name, each in directs.items() if alias in each.models}
    return named or dict(directs)


def excuse(alias: str, directs: Directs, *, since: float) -> str:
    """Return why a bad answer for `alias` to what was asked at `since` may be a backend's fault; empty: it is not."""
    there = behind(alias, directs)
    if not there:
        return "no backend of it is known"
    unsound = (f"{name} {each.why or 'was at work'}" for name, each in there.items() if not _is_sound(each, since))
    return next(unsound, "")


def weigh(seen: CanaryEnded, alias: str, directs: Directs, *, sent_at: float) -> CanaryEnded:
    """Return what came of a canary through the router: a bad answer that a backend may be behind is excused."""
    if seen.reply in ITS_OWN:
        return seen
    if why := excuse(alias, directs, since=sent_at):
        return replace(seen, reply=Reply.EXCUSED, detail=f"{alias}: {seen.detail or seen.reply}, but {why}")
    return replace(seen, detail=f"{alias}: {seen.detail or seen.reply}, and {_names(behind(alias, directs))} directly")


def limit_s(policy: Policy) -> float:
    """Return how long a canary through a router is waited for: no shorter than its backends need to be found out."""
    return max(policy.canary_deadline_s, LOOKS * policy.tick_s + policy.look_timeout_s)


def next_alias(
    aliases: tuple[str, ...], last: str | None, directs: Directs, *, in_doubt: bool, policy: Policy, now: float
) -> str | None:
    """Return the alias to ask for next, in turn; None: nothing that is worth asking for now.

    In doubt the last one is asked for again, until it is settled. Else an alias whose backends could not answer tells
    nothing, and one whose users may come back for what its backend keeps is asked for last.
    """
    if in_doubt and last in aliases:
        return last
    start = aliases.index(last) + 1 if last in aliases else 0
    in_turn = [*aliases[start:], *aliases[:start]]
    worth = [alias for alias in in_turn if not excuse(alias, directs, since=now)]
    free = [alias for alias in worth if not _spares(alias, directs, policy=policy, now=now)]
    if free:
        return free[0]
    users_at = {alias: max(_times(behind(alias, directs).values()), default=0.0) for alias in worth}
    if not users_at or now - max(users_at.values()) < SPARED_S:
        return None  # its users tell how it is
    return min(worth, key=lambda alias: users_at[alias])


def _spares(alias: str, directs: Directs, *, policy: Policy, now: float) -> bool:
    keeping = [each for each in behind(alias, directs).values() if each.keeps]
    return any(now - at < policy.spare_s for at in _times(keeping))


def _times(directs: Iterable[Direct]) -> list[float]:
    return [each.users_at for each in directs if each.users_at is not None]


def _is_sound(direct: Direct, since: float) -> bool:
    return direct.sound_since is not None and direct.sound_since <= since


def _names(directs: Directs) -> str:
    names = list(directs)
    return f"{', '.join(names)} {'answers' if len(names) == 1 else 'answer'}"
