"""Spell a length of time as a tired person reads it. Pure arithmetic, for the core's words and the command's."""

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86400
_BRIEF = ((DAY_S, "d", HOUR_S, "h"), (HOUR_S, "h", MINUTE_S, "m"), (MINUTE_S, "m", 1, "s"))


def lasting(seconds: float) -> str:
    """Return a span in at most two units: `41 s`, `4 min 10 s`, `2 h 5 min`, `3 days 4 h`."""
    whole = max(0, int(seconds))
    if whole < MINUTE_S:
        return f"{whole} s"
    if whole < HOUR_S:
        return _two(whole, MINUTE_S, "min", 1, "s")
    if whole < DAY_S:
        return _two(whole, HOUR_S, "h", MINUTE_S, "min")
    return _two(whole, DAY_S, "day" if whole < 2 * DAY_S else "days", HOUR_S, "h")


def ago(seconds: float) -> str:
    """Return how long ago something was."""
    return "just now" if seconds < 1 else f"{lasting(seconds)} ago"


def brief(seconds: float) -> str:
    """Return a span for a line that has little room: `41s`, `19m31s`, `2h05m`, `3d04h`."""
    whole = max(0, round(seconds))
    for large_s, large, small_s, small in _BRIEF:
        if whole >= 2 * large_s:
            rest = whole % large_s // small_s
            return f"{whole // large_s}{large}" + (f"{rest:02d}{small}" if rest else "")
    return f"{whole}s"


def took(seconds: float) -> str:
    """Return how long an answer took, where fractions count: `41 ms`, `1.2 s`, `2 min 3 s`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < MINUTE_S else lasting(seconds)


def _two(whole: int, large_s: int, large: str, small_s: int, small: str) -> str:
    rest = whole % large_s // small_s
    return f"{whole // large_s} {large}" + (f" {rest} {small}" if rest else "")
