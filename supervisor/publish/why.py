"""Make the document that answers `why`: the story, what every witness says now, and what led here."""

from typing import Any

from supervisor.core.liveness import Clocks, Snapshot, word
from supervisor.core.statements import Statement, statements
from supervisor.core.story import story

TRANSITIONS = 10
UNREADABLE = "the history cannot be read; the supervisor's log says why"


def why(snapshot: Snapshot, *, clocks: Clocks, transitions: list[dict[str, Any]] | None) -> dict[str, Any]:
    """Return the document; `transitions` newest first, None where the history cannot be read."""
    state, judgement = snapshot.state, snapshot.state.judgement
    said = statements(snapshot.evidence, now=clocks.now)
    return {
        "name": snapshot.name,
        "story": story(snapshot, now=clocks.now),
        "state": str(word(state)),
        "verdict": str(judgement.verdict),
        "reason": judgement.reason,
        "message": judgement.message,
        "since": clocks.iso(state.since),
        "incident": snapshot.incident,
        "statements": [_statement(each, clocks=clocks) for each in said],
        "transitions": transitions,
        "note": UNREADABLE if transitions is None else None,
    }


def _statement(said: Statement, *, clocks: Clocks) -> dict[str, Any]:
    age_s = None if said.since is None else round(max(0.0, clocks.now - said.since), 1)
    return {"witness": str(said.witness), "says": said.says, "since": clocks.iso(said.since), "age_s": age_s}
