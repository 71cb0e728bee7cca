"""Turn an incident into a row and back, and into what people are told. It touches no database.

Here an `Incident` has POSIX seconds for its times; `shifted` brings it to another clock. A row may have been edited by
hand: what cannot be read is left out, and nothing here raises for it.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from supervisor.core.cause import Cause, Diagnosis
from supervisor.core.incident import Ending, Incident
from supervisor.core.liveness import iso
from supervisor.core.verdict import Judgement, Verdict
from supervisor.history import rows

MOST_ACTS = 1000  # of one target in one incident: ten days of trying in vain
COLUMNS = (
    *("id", "target", "instance", "opened_at", "closed_at", "ending", "verdict", "reason", "message"),
    *("cause", "says", "cure", "helps_restart", "signal", "acted_at", "would_act_at", "asked"),
)
T = TypeVar("T")


def shifted(incident: Incident, *, by_s: float, latest: float | None = None) -> Incident:
    """Return the incident by a clock that is `by_s` ahead; nothing is later than `latest`."""

    def at(time: float) -> float:
        return time + by_s if latest is None else min(time + by_s, latest)

    return replace(
        incident,
        opened_at=at(incident.opened_at),
        closed_at=_if_known(at, incident.closed_at),
        acted_at=tuple(at(each) for each in incident.acted_at),
        would_act_at=_if_known(at, incident.would_act_at),
    )


def read(values: Sequence[Any]) -> Incident | None:
    """Return a row of `COLUMNS` as an incident; None where not even its beginning can be read."""
    stored = dict(zip(COLUMNS, values, strict=True))
    opened_at = _seconds(stored["opened_at"])
    if opened_at is None:
        return None
    verdict = _word(Verdict, stored["verdict"]) or Verdict.UNKNOWN
    acted_at = rows.content(stored["acted_at"])
    acted = [_seconds(each) for each in (acted_at if isinstance(acted_at, list) else [])]
    closed_at = _seconds(stored["closed_at"])
    return Incident(
        id=_text(stored["id"]),
        target=_text(stored["target"]),
        instance=_text(stored["instance"]) or None,
        opened_at=opened_at,
        judgement=Judgement(verdict=verdict, reason=_text(stored["reason"]), message=_text(stored["message"])),
        diagnosis=_diagnosis(stored),
        acted_at=tuple(each for each in acted if each is not None)[-MOST_ACTS:],
        would_act_at=_seconds(stored["would_act_at"]),
        asked=stored["asked"] == 1,
        # Ended, and when is not known any more.
        closed_at=opened_at if closed_at is None and stored["closed_at"] is not None else closed_at,
        ending=_word(Ending, stored["ending"]),
    )


def row(incident: Incident) -> tuple[str | int | None, ...]:
    """Return an incident as a row of `COLUMNS`."""
    judgement, diagnosis = incident.judgement, incident.diagnosis
    found: tuple[str | int | None, ...] = (None,) * 5
    if diagnosis is not None:
        says, cure = rows.text(diagnosis.says), rows.text(diagnosis.cure)
        found = (diagnosis.cause, says, cure, int(diagnosis.helps_restart), diagnosis.signal)
    return (
        *(incident.id, incident.target, incident.instance),
        *(spelled(incident.opened_at), _if_known(spelled, incident.closed_at), incident.ending),
        *(judgement.verdict, judgement.reason, rows.text(judgement.message)),
        *found,
        json.dumps([spelled(each) for each in incident.acted_at[-MOST_ACTS:]]),
        *(_if_known(spelled, incident.would_act_at), int(incident.asked)),
    )


def as_written(before: Incident | None, after: Incident) -> Incident:
    """Return the incident with the times that are written already.

    The clock that ours are from stands still while the machine is suspended, so that told anew they would be too late.
    """
    if before is None or (before.closed_at is not None and after.closed_at is None):  # it has begun again
        return after
    known = before.acted_at[: len(after.acted_at)]
    would_act_at = after.would_act_at if before.would_act_at is None else before.would_act_at
    acted_at = (*known, *after.acted_at[len(known) :])
    return replace(after, opened_at=before.opened_at, acted_at=acted_at, would_act_at=would_act_at)


def spelled(at: float) -> str:
    """Return a time as it is stored."""
    return datetime.fromtimestamp(at, UTC).isoformat()


def told(name: str, members: Sequence[Incident]) -> dict[str, Any]:
    """Return an incident, and all who have a part in it, as people are told of it; it is open while one of them is."""
    ends = [each.closed_at for each in members]
    closed_at = [each for each in ends if each is not None]
    found = [each.diagnosis for each in members if each.diagnosis is not None]
    # What one of them tells best is the cause of all.
    diagnosis = next((each for each in found if each.is_news), found[0] if found else None)
    return {
        "id": name,
        "opened_at": _told_at(min(each.opened_at for each in members)),
        "closed_at": _told_at(max(closed_at)) if len(closed_at) == len(ends) else None,
        "targets": [each.target for each in members],
        **_cause(diagnosis),
        "members": [_member(each) for each in members],
    }


def _diagnosis(stored: dict[str, Any]) -> Diagnosis | None:
    if stored["cause"] is None:
        return None
    return Diagnosis(
        cause=_word(Cause, stored["cause"]) or Cause.UNKNOWN,
        says=_text(stored["says"]),
        cure=_text(stored["cure"]),
        helps_restart=stored["helps_restart"] != 0,  # where nobody knows, trying is no harm
        signal=_text(stored["signal"]) or None,
    )


def _member(incident: Incident) -> dict[str, Any]:
    diagnosis = incident.diagnosis
    return {
        "target": incident.target,
        "instance": incident.instance,
        "opened_at": _told_at(incident.opened_at),
        "closed_at": _if_known(_told_at, incident.closed_at),
        "ending": _if_known(str, incident.ending),
        "verdict": str(incident.judgement.verdict),
        "reason": incident.judgement.reason,
        "message": incident.judgement.message,
        **_cause(diagnosis),
        "helps_restart": None if diagnosis is None else diagnosis.helps_restart,
        "acted_at": [_told_at(each) for each in incident.acted_at],
        "would_act_at": _if_known(_told_at, incident.would_act_at),
        "was_right_to_wait": incident.was_right_to_wait,
    }


def _cause(diagnosis: Diagnosis | None) -> dict[str, str | None]:
    if diagnosis is None:
        return {"cause": None, "says": None, "cure": None}
    return {"cause": str(diagnosis.cause), "says": diagnosis.says, "cure": diagnosis.cure}


def _if_known(use: Callable[[Any], T], value: Any) -> T | None:
    return None if value is None else use(value)


def _told_at(at: float) -> str:
    return iso(datetime.fromtimestamp(at, UTC))


def _seconds(stored: Any) -> float | None:
    at = rows.time(stored)
    return None if at is None else at.timestamp()


def _text(stored: Any) -> str:
    return stored if isinstance(stored, str) else ""


def _word(kind: Callable[[Any], T], stored: Any) -> T | None:
    try:
        return kind(stored)
    except ValueError:
        return None
