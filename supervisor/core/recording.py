"""Keep the last of what was seen of a target, and what was believed before, so that it can be judged once more.

Pure, and bounded in number, in time and, where it is written down, in size. A recording is of one uninterrupted watch:
whatever changes what is believed and is no observation (an act, an operator's wish, our own absence) begins another.
"""

from dataclasses import dataclass, replace
from typing import Any, get_args

from supervisor.core.baseline import Baseline
from supervisor.core.evidence import Evidence
from supervisor.core.observations import CpuSeen, Observation, ProgressSeen
from supervisor.core.plain import from_plain, to_plain
from supervisor.core.state import State
from supervisor.core.verdict import NOTHING_LEARNED

MOST_KEPT = 400  # observations
MOST_AGE_S = 600.0
MOST_BYTES = 96 * 1024  # about so much in a file: a log, and what else is kept with it, need their room
BEGINS_EVERY = 40  # observations and slots in them; what is believed is larger than what is seen
SECOND_S = 1.0  # what rounding may add
AS_BEFORE = "as before"  # of slots: idle ones stay as they are for hours
KINDS: dict[str, type[Observation]] = {kind.__name__: kind for kind in get_args(Observation)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Belief:
    """What is known of a target, believed of it and learned of it at one moment."""

    evidence: Evidence
    state: State
    baseline: Baseline = NOTHING_LEARNED


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What was seen at `at` (monotonic seconds); with the belief `before` it, a replay may begin here."""

    at: float
    seen: Observation
    before: Belief | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """The last entries, oldest first; the first has a belief, unless it was lost on the way."""

    entries: tuple[Entry, ...] = ()


def noted(recording: Recording, seen: Observation, *, now: float, before: Belief) -> Recording:
    """Return the recording with what was seen now; `before` is what was believed until then."""
    kept = _within_bounds(recording.entries, now=now)
    return Recording(entries=(*kept, Entry(at=now, seen=seen, before=_bare(before) if _may_begin(kept) else None)))


def to_json(recording: Recording, *, now: float) -> list[dict[str, Any]]:
    """Return the recording as plain JSON values, times in seconds from `now`; the oldest go where it is too large."""
    entries = recording.entries
    told = [_told(each, now=now) for each in entries]
    folded = _folded(told)
    size_bytes, begin = 0, len(entries)
    for number in reversed(range(len(entries))):
        size_bytes += _size_bytes(folded[number])
        before = entries[number].before
        if before is None:
            continue
        opening = {"before": to_plain(before, now=now)}
        # Slots may have been as before this.
        if size_bytes + _size_bytes(opening) + _size_bytes(_last_slots(told[: number + 1])) > MOST_BYTES:
            break
        begin, first = number, opening
    return [first, *_folded(told[begin:])] if begin < len(entries) else []


def from_json(value: Any, *, now: float) -> Recording:
    """Return the recording that `value` tells, which ends at `now`; whatever is odd in it is left out."""
    told = value if isinstance(value, list) else []
    belief = _belief(told[0], now=now) if told else None
    entries = _entries(told, now=now)
    kept = [each for each in entries[-MOST_KEPT:] if entries[-1].at - each.at <= MOST_AGE_S + SECOND_S]
    if belief is not None and kept and len(kept) == len(entries):
        kept[0] = replace(kept[0], before=belief)
    return Recording(entries=tuple(kept))


def _within_bounds(entries: tuple[Entry, ...], *, now: float) -> tuple[Entry, ...]:
    """Return the entries that may be kept beside a new one: from a place on where a replay may begin."""
    room = MOST_KEPT - 1
    if not entries or (len(entries) <= room and now - entries[0].at <= MOST_AGE_S):
        return entries
    for number, each in enumerate(entries):
        if each.before is not None and len(entries) - number <= room and now - each.at <= MOST_AGE_S:
            return entries[number:]
    return ()


def _may_begin(kept: tuple[Entry, ...]) -> bool:
    """Whether the last place where a replay may begin is long enough ago."""
    parts = 0
    for each in reversed(kept):
        parts += 1 + (len(each.seen.slots) if isinstance(each.seen, ProgressSeen) else 0)
        if parts >= BEGINS_EVERY or each.before is not None:
            break
    return parts >= BEGINS_EVERY or not kept


def _bare(belief: Belief) -> Belief:
    """Return the belief without what was said about it: words that no judgement rests on."""
    state = belief.state
    judgement = replace(state.judgement, statements=())
    return replace(belief, state=replace(state, judgement=judgement, diagnosis=None, restraint=None))


def _told(entry: Entry, *, now: float) -> dict[str, Any]:
    at_s = to_plain(entry.at - now, now=now)
    return {"at_s": at_s, "seen": type(entry.seen).__name__, **to_plain(entry.seen, now=now)}


def _folded(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the entries, slots that have not changed since the last look told in short."""
    folded, last = [], None
    for each in told:
        slots = each.get("slots")
        folded.append({**each, "slots": AS_BEFORE} if slots and slots == last else each)
        last = slots or last
    return folded


def _last_slots(told: list[dict[str, Any]]) -> Any:
    return next((each["slots"] for each in reversed(told) if each.get("slots")), None)


def _size_bytes(value: Any, deep: int = 3) -> int:
    """Return about how large a plain value is in an indented file, each part on a line of its own."""
    if isinstance(value, dict):
        return 2 + sum(deep + len(key) + 6 + _size_bytes(each, deep + 1) for key, each in value.items()) + deep
    if isinstance(value, list):
        return 2 + sum(deep + 2 + _size_bytes(each, deep + 1) for each in value) + deep
    return len(str(value).encode(errors="replace")) + 2


def _entries(told: list[Any], *, now: float) -> list[Entry]:
    entries, slots = [], None
    for each in told:
        if not isinstance(each, dict):
            continue
        if each.get("slots") == AS_BEFORE:
            if slots is None:
                continue  # nobody knows any more how they were
            each = {**each, "slots": slots}
        slots = each.get("slots") or slots
        if entry := _entry(each, now=now):
            entries.append(entry)
    return sorted(entries, key=lambda entry: entry.at)


def _entry(told: dict[str, Any], *, now: float) -> Entry | None:
    kind, at_s = KINDS.get(str(told.get("seen"))), told.get("at_s")
    if kind is None or isinstance(at_s, bool) or not isinstance(at_s, int | float) or not -MOST_AGE_S * 2 <= at_s <= 0:
        return None
    seen = from_plain(kind, told, now=now)
    if seen is None or (isinstance(seen, CpuSeen) and not seen.over_s):
        return None
    return Entry(at=now + at_s, seen=seen)


def _belief(told: Any, *, now: float) -> Belief | None:
    belief = from_plain(Belief, told.get("before"), now=now) if isinstance(told, dict) else None
    # Of what was never measured nobody knows whether it burned.
    is_sound = belief is not None and (belief.evidence.cpu_burned is None or belief.evidence.measured_s > 0)
    return belief if is_sound else None
