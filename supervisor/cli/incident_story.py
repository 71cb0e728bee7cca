"""Tell one incident: what it was, why, what was done and how it ended, then the evidence. Pure: no I/O, no clock."""

import textwrap
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from supervisor.cli.evidence import bundles
from supervisor.cli.incident_table import members, names
from supervisor.cli.text import NARROWEST, WIDEST, clean
from supervisor.cli.times import lasted, moment

MOST_TIMES = 4  # of restarts that are told one by one
HELD_BACK = "would have been restarted at {}, had we not held back"

Incident = dict[str, Any]


def lines(incident: Incident, *, now_s: float, width: int) -> list[str]:
    """Return the lines to print: a paragraph for each target that was in it, and what was seen before each act."""
    width = min(max(width, NARROWEST), WIDEST)
    troubles = members(incident)
    paragraphs = [_head(incident, now_s=now_s)]
    if incident.get("cause") not in (None, *(each.get("cause") for each in troubles)):
        paragraphs.append(" ".join(_cause(incident, message="")))
    paragraphs += [" ".join(_story(each, now_s=now_s)) for each in troubles]
    told = []
    for each in paragraphs:
        told += [*textwrap.wrap(each, width, break_on_hyphens=False), ""]
    return told + bundles(incident.get("evidence"), width=width)


def _head(incident: Incident, *, now_s: float) -> str:
    opened, span = moment(incident.get("opened_at")), lasted(incident, now_s=now_s)
    since = "" if opened is None else f", since {_day_and_time(opened)}"
    if incident.get("closed_at") is None:
        so_far = "still open" if span is None else f"still open after {span}"
    else:
        so_far = "over" if span is None else f"over after {span}"
    return f"Incident {clean(incident.get('id'))}: {_and(names(incident)) or 'nobody'}{since}, {so_far}."


def _story(trouble: Incident, *, now_s: float) -> Iterator[str]:
    """Yield the sentences about one target."""
    opened = moment(trouble.get("opened_at"))
    message, reason = clean(trouble.get("message")), clean(trouble.get("reason"))
    at = "" if opened is None else f" at {_day_and_time(opened)}"
    why = f": {message}" if message else ""
    yield f"{clean(trouble.get('target'))} was {clean(trouble.get('verdict')) or 'in trouble'}{at}{why}" + (
        f" ({reason})." if reason else "."
    )
    yield from _cause(trouble, message=message)
    yield from _done(trouble, opened=opened)
    yield _end(trouble, now_s=now_s)


def _cause(trouble: Incident, *, message: str) -> Iterator[str]:
    """Yield what was behind it and what helps; `message` has been told already."""
    cause, says, cure = (_phrase(trouble.get(key)) for key in ("cause", "says", "cure"))
    says_more = says not in ("", cause, message)
    if cause in ("", "unknown"):
        yield f"The cause is not known; what was found: {says}." if says_more else "The cause is not known."
    elif says_more:
        yield f"The cause: {cause}, that is, {says}."
    elif cause != trouble.get("verdict"):  # a hang is told as such, and what is behind it nobody could see
        yield f"The cause: {cause}."
    if trouble.get("helps_restart") is False:
        yield "A restart does not help against that."
    if cure:
        yield f"What helps: {cure}."


def _done(trouble: Incident, *, opened: datetime | None) -> Iterator[str]:
    would_act, acted = moment(trouble.get("would_act_at")), _moments(trouble.get("acted_at"))
    if would_act is not None:
        at = _time(would_act, beside=opened)
        held_back = "was due to be restarted at {}, and we held back" if acted else HELD_BACK
        yield f"It {held_back.format(at)}."
    if len(acted) > MOST_TIMES:
        first, last = _time(acted[0], beside=opened), _time(acted[-1], beside=opened)
        yield f"We restarted it {len(acted)} times, first at {first} and last at {last}."
    elif acted:
        yield f"We restarted it at {_and([_time(each, beside=opened) for each in acted])}."
    elif would_act is None:
        yield "We did nothing to it."


def _end(trouble: Incident, *, now_s: float) -> str:
    span = lasted(trouble, now_s=now_s)
    if trouble.get("closed_at") is None:
        return "It is not over yet." if span is None else f"It is not over yet, after {span}."
    after = "" if span is None else f" after {span}"
    match trouble.get("ending"):
        case "by itself":
            told = f"It recovered by itself{after}"
        case "our restart":
            told = f"Our restart brought it back{after}"
        case "somebody else's restart":
            told = f"Somebody else's restart brought it back{after}"
        case "the operator":
            told = f"The operator ended it{after}"
        case _:
            told = f"It ended{after}, nobody knows how"
    match trouble.get("was_right_to_wait"):
        case True:
            return f"{told}, so waiting was right."
        case False:
            return f"{told}, so waiting did not help."
        case _:
            return f"{told}."


def _phrase(words: Any) -> str:
    return clean(words).strip().rstrip(".")


def _moments(times: Any) -> list[datetime]:
    found = [moment(each) for each in times] if isinstance(times, list) else []
    return [each for each in found if each is not None]


def _day_and_time(at: datetime) -> str:
    return at.strftime("%b %d %H:%M:%S")


def _time(at: datetime, *, beside: datetime | None) -> str:
    """Return the time alone where the day has just been said."""
    return at.strftime("%H:%M:%S") if beside and beside.date() == at.date() else _day_and_time(at)


def _and(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
