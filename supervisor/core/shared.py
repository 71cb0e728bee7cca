"""Tell a trouble of many from many troubles: when half of the targets fail at once, it is nobody's own fault.

Pure. Restarting everything at once would make it worse, so restarts are frozen for a while, and then tried one by one.
"""

from dataclasses import dataclass, replace

AT_LEAST = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """How many must fail in how long, and how long restarts wait then (seconds)."""

    share: float = 0.5  # of all targets, two at least
    window_s: float = 10.0
    lasts_s: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Troubles:
    """Who is in trouble, each since when (monotonic seconds), and since when that is one trouble of several."""

    fallen: tuple[tuple[str, float], ...] = ()
    shared_since: float | None = None

    def members(self, freeze: Freeze) -> tuple[str, ...]:
        """Return who is in the shared trouble, the first to fall first; nobody where there is none."""
        if self.shared_since is None:
            return ()
        first, last = self.shared_since - freeze.window_s, self.shared_since + freeze.lasts_s
        return tuple(name for name, at in self.fallen if first <= at <= last)

    def is_frozen(self, freeze: Freeze, *, now: float) -> bool:
        """Whether restarts wait."""
        return self.shared_since is not None and now - self.shared_since < freeze.lasts_s


def fell(troubles: Troubles, name: str, *, of: int, freeze: Freeze, now: float) -> Troubles:
    """Return the troubles after `name` failed, one of `of` targets.

    A shared trouble begins where enough of them have failed within the window; another one may follow it.
    """
    if name in dict(troubles.fallen):
        return troubles
    after = replace(troubles, fallen=(*troubles.fallen, (name, now)))
    lately = [at for _, at in after.fallen if now - at <= freeze.window_s]
    is_past = after.shared_since is None or now - after.shared_since >= freeze.lasts_s
    if is_past and len(lately) >= max(AT_LEAST, freeze.share * of):
        return replace(after, shared_since=now)
    return after


def rose(troubles: Troubles, name: str, *, freeze: Freeze) -> Troubles:
    """Return the troubles after `name` is well again, or somebody has taken it over.

    A shared trouble ends with the last but one of its members: whatever ails the last is its own.
    """
    after = replace(troubles, fallen=tuple(each for each in troubles.fallen if each[0] != name))
    return after if len(after.members(freeze)) >= AT_LEAST else replace(after, shared_since=None)
