"""Put changes, incidents and acts into one order, and lay them out. Pure: no I/O, no clock."""

from collections.abc import Iterable
from typing import Any

from supervisor.cli.incident_table import ended, names
from supervisor.cli.text import clean, hanging, wide
from supervisor.cli.times import moment

COLUMNS = ("at", "target", "kind", "what", "why", "incident")
GAP = "  "

Entry = dict[str, Any]


def entries(past: dict[str, Any], incidents: dict[str, Any], *, since: float | None) -> list[Entry]:
    """Return all of them, oldest first, but for those before `since` (POSIX seconds)."""
    told = [
        *(_change(each) for each in _listed(past, "transitions")),
        *(_act(each) for each in _listed(past, "acts")),
        *(entry for each in _listed(incidents, "incidents") for entry in _incident(each)),
    ]
    known = [each for each in told if (at := moment(each["at"])) and (since is None or at.timestamp() >= since)]
    return sorted(known, key=lambda each: str(each["at"]))


def rows(told: list[Entry], *, width: int | None = None) -> list[str]:
    """Return a line for each: when, who, what, why; on a terminal of some `width`, folded where that is too long."""
    names_wide = max((len(clean(each["target"])) for each in told), default=0)
    return [line for each in told for line in _row(each, names_wide=names_wide, width=width)]


def _row(each: Entry, *, names_wide: int, width: int | None) -> list[str]:
    head, words = f"{_clock(each['at'])}{GAP}{clean(each['target']):<{names_wide}}{GAP}", _words(each)
    return [f"{head}{words}"] if width is None or wide(head + words) <= width else hanging(head, words, width=width)


def _words(entry: Entry) -> str:
    why = f": {clean(entry['why'])}" if entry["why"] else ""
    return f"{clean(entry['what'])}{why}"


def _clock(at: Any) -> str:
    when = moment(at)
    return "?" if when is None else when.strftime("%b %d %H:%M:%S")


def _change(each: Entry) -> Entry:
    what = f"{each.get('before') or '?'} -> {each.get('after') or '?'}"
    return _entry(each.get("at"), each.get("target"), "state", what, each.get("message"), each.get("incident"))


def _act(each: Entry) -> Entry:
    by = "the operator" if each.get("by_operator") else "the supervisor"
    outcome = each.get("outcome")
    how = "" if outcome == "done" else str(outcome or "nobody saw how it ended")
    return _entry(each.get("began_at"), each.get("target"), "act", f"{each.get('verb')} by {by}", how, None)


def _incident(each: Entry) -> Iterable[Entry]:
    who, own = ", ".join(names(each)), each.get("id")
    cause = clean(each.get("says") or each.get("cause"))
    yield _entry(each.get("opened_at"), who, "incident", f"incident {own} begins", cause, own)
    if each.get("closed_at"):
        yield _entry(each.get("closed_at"), who, "incident", f"incident {own} is over", ended(each), own)


def _entry(at: Any, target: Any, kind: str, what: str, why: Any, incident: Any) -> Entry:
    return {"at": at, "target": target, "kind": kind, "what": what, "why": why or "", "incident": incident}


def _listed(document: dict[str, Any], key: str) -> list[Entry]:
    found = document.get(key)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
