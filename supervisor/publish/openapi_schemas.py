"""The shapes of what the HTTP face answers, but for the liveness document, for its OpenAPI description."""

from supervisor.core.observations import Reply
from supervisor.core.restraint import Curb
from supervisor.core.state import Phase
from supervisor.publish.liveness_schema import (
    LIVENESS,
    NAME,
    REASON,
    STATE,
    VERDICT,
    Schema,
    number,
    record,
    several,
    text,
    time,
)

BOOL: Schema = {"type": "boolean"}
INTEGER: Schema = {"type": "integer", "minimum": 0}
LEFT_OUT = "nobody knows"
SINCE = "it has not come about"


def maybe(description: str) -> Schema:
    """Return the schema of a text that may be null."""
    return {"type": ["string", "null"], "description": description}


def flag(description: str) -> Schema:
    """Return the schema of a yes or no."""
    return {**BOOL, "description": description}


PHASE = text("The phase, finer than the state.", enum=[str(each) for each in Phase])
ERROR = record(
    {"error": record({"code": text("For machines."), "message": text("For people: what is wrong, and what to do.")})},
    "A refusal, or a fault of the supervisor's own.",
)
RETRY_AFTER_S = number("When asking again may help, in whole seconds.", unless="it waits for a person", minimum=1)
BACKEND_STATE = record(
    {
        "name": NAME,
        "routable": BOOL,
        "verdict": VERDICT,
        "reason": REASON,
        "message": text("Why, for people."),
        "retry_after_s": {**RETRY_AFTER_S, "description": f"{RETRY_AFTER_S['description']} Or it is routable."},
    },
    "One backend in a few words.",
)
CANDIDATE = record({"name": NAME, "url": text("Where it listens."), "weight": number("0 to 1."), "verdict": VERDICT})
MODEL_READY = record(
    {"alias": text("As it was asked for."), "routable": {"const": True}, "backends": several(CANDIDATE, "Best first.")}
)
MODEL_NOT_READY = record(
    {
        "alias": text("As it was asked for."),
        "routable": {"const": False},
        "backends": several({}, maxItems=0),
        "retry_after_s": RETRY_AFTER_S,
        "error": ERROR["properties"]["error"],
    },
    "No backend of this model is routable.",
)
HTTP_SD = several(
    record(
        {
            "targets": several(text("host:port"), minItems=1, maxItems=1),
            "labels": {
                "type": "object",
                "propertyNames": {"pattern": "^[a-zA-Z_][a-zA-Z0-9_]*$"},
                "additionalProperties": {"type": "string"},
            },
        }
    ),
    "Prometheus' HTTP service discovery: one group per target.",
)
STATEMENT = record(
    {
        "witness": text("Whose word it is: engine, progress, cpu, canary ..."),
        "says": text("What it says."),
        "age_s": number("Since when it says so, in seconds.", unless=LEFT_OUT, minimum=0),
    }
)
TRANSITION = record(
    {
        "at": time("When."),
        "before": maybe("The phase before."),
        "after": maybe("The phase after."),
        "verdict": maybe("What the evidence meant."),
        "reason": maybe("Why, for machines."),
        "message": maybe("Why, for people."),
        "statements": several(STATEMENT, "What it rested on."),
        "incident": maybe("The id of the trouble that it is a part of."),
    },
    "One change of phase.",
)
TOLD_TRANSITION = {**TRANSITION, "required": ["target", *TRANSITION["required"]]} | {
    "properties": {"target": NAME, **TRANSITION["properties"]}
}
ACT = record(
    {
        "target": NAME,
        "began_at": time("When it was begun: it is written down before it is done."),
        "ended_at": time("When it ended.", unless="it has not, or the supervisor did not live to see it"),
        "verb": text("start, stop, restart, or signal and its name."),
        "by_operator": flag("Whether an operator asked for it."),
        "outcome": maybe("done, or why not. null: not known."),
        "counts": flag("Whether it spends the budget of restarts, where it is one of the supervisor's own."),
    },
    "Something that was done to a target, or was about to be.",
)
HISTORY = record(
    {"transitions": several(TOLD_TRANSITION, "Newest first."), "acts": several(ACT, "Newest first, as many.")}
)
WHY = record(
    {
        "name": NAME,
        "story": text("A paragraph for people."),
        "state": STATE,
        "verdict": VERDICT,
        "reason": REASON,
        "message": text("Why, for people."),
        "since": time("When it came into its present phase."),
        "incident": maybe("The id of the trouble it is in."),
        "statements": several(
            {
                **STATEMENT,
                "properties": {**STATEMENT["properties"], "since": time("Since when.", unless=LEFT_OUT)},
            }
        ),
        "transitions": {
            "type": ["array", "null"],
            "items": TRANSITION,
            "description": "What led here, newest first. null: the history cannot be read.",
        },
        "note": maybe("What is missing here, and why."),
    },
    "Why a target is where it is.",
)
HELD = {
    "type": ["object", "null"],
    "description": "What people have said that keeps the supervisor from acting on it. null: nothing.",
    "required": ["by", "message", "since", "until"],
    "properties": {
        "by": text("How.", enum=[str(each) for each in Curb]),
        "message": text("For people."),
        "since": time("When somebody said so.", unless="it is a maintenance window"),
        "until": time("Until when.", unless="until somebody lifts it"),
    },
}
DRAINED = {
    "type": ["object", "null"],
    "description": "By which word of an operator's it is out of rotation. null: it is not.",
    "required": ["message", "until", "serves_nobody"],
    "properties": {
        "message": text("For people."),
        "until": time("Until when.", unless="until it is released"),
        "serves_nobody": flag("Whether whoever it served has been served to the end, as far as can be seen."),
    },
}
TARGET = record(
    {
        "name": NAME,
        "kind": text("What it is.", enum=["backend", "router"]),
        "state": STATE,
        "phase": PHASE,
        "verdict": VERDICT,
        "routable": BOOL,
        "reason": REASON,
        "summary": text("The rest of the status line, with durations."),
        "pid": {"type": ["integer", "null"]},
        "uptime_s": number("Of its present life, in seconds.", unless="it does not run, or nobody knows"),
        "stopped_at": maybe("When it ended, as its engine says. null: it runs, or nobody knows."),
        "since": time("When it came into its present phase."),
        "instance": maybe("Which life of it."),
        "restarts": {**INTEGER, "description": "By the supervisor, within the budget's window."},
        "watched_only": {**BOOL, "description": 'Nothing can be done to it from here (engine = "none").'},
        "cause": maybe("What is behind its trouble. null: none, or nobody has looked yet."),
        "incident": maybe("The id of the trouble it is in."),
        "held": HELD,
        "drained": DRAINED,
    }
)
STATUS = record(
    {
        "schema": {"const": 1},
        "as_of": time("When it was told."),
        "expires_at": time("When it is true no more; in the past where a target's owner is late."),
        "mode": text("observe: the supervisor restarts nothing.", enum=["enforce", "observe"]),
        "daemon": record(
            {
                "pid": INTEGER,
                "version": text("Of the supervisor."),
                "started_at": time("When it started."),
                "problems": several(text("What ails the supervisor itself.")),
            }
        ),
        "targets": several(TARGET),
    },
    "What people are told.",
)
OUTCOME = record(
    {
        "name": NAME,
        "verb": text("What was asked for."),
        "outcome": text("How it ended, or has not yet.", enum=["done", "already", "failed", "pending"]),
        "message": text("For people."),
        "stopped": several(NAME, "Those that had to make way for it."),
        "state": STATE,
    }
)
UNTIL = time("When it ends.", unless="it lasts until it is released")
HELD_NOW = record({"name": NAME, "held": {"const": True}, "until": UNTIL})
RELEASED = record({"name": NAME, "released": flag("false: it was neither held nor drained.")})
DRAINED_NOW = record(
    {
        "name": NAME,
        "drained": flag("false: it was released while this was waited for."),
        "until": UNTIL,
        "serves_nobody": flag("Whether whoever it served has been served to the end, as far as can be seen."),
    }
)
PROBED = record(
    {
        "name": NAME,
        "asked": flag("Whether a canary was sent, or was out already; detail says why not."),
        "ok": flag("Whether it answered well; where it was not asked, whether it is believed to be well."),
        "verdict": VERDICT,
        "state": STATE,
        "reply": {"type": ["string", "null"], "enum": [*map(str, Reply), None], "description": "null: none yet."},
        "first_token_ms": number("How long the first token took, in milliseconds.", unless="no answer", minimum=0),
        "detail": text("For people."),
    },
    "What came of a probe.",
)
SIGNALLED = record(
    {
        "name": NAME,
        "signal": text("Its whole name."),
        "outcome": text("Whether it was sent.", enum=["done", "failed"]),
        "message": text("What to expect of it, or why it was not sent."),
        "state": STATE,
    }
)
PAUSED = record({"paused": {"const": True}, "until": UNTIL, "under_way": several(NAME, "What is let come to its end.")})
RESUMED = record({"resumed": flag("false: there was no pause.")})
HOLD = record(
    {
        "target": text("Its name, or * for every target."),
        "since": time("When it began."),
        "until": UNTIL,
        "why": text("As the operator said."),
        "drains": flag("Whether it is out of rotation by that."),
    }
)
HOLDS = record({"holds": several(HOLD), "under_way": several(NAME, "What something is being done to now.")})
_CAUSE = {
    "cause": maybe("What was behind it. null: nobody knows."),
    "says": maybe("How that showed."),
    "cure": maybe("What a person can do."),
}
MEMBER = record(
    {
        "target": NAME,
        "instance": maybe("Which life was ill."),
        "opened_at": time("When it began."),
        "closed_at": time("When it ended.", unless="it lasts"),
        "ending": maybe("What ended it."),
        "verdict": VERDICT,
        "reason": text("Why, for machines."),
        "message": text("Why, for people."),
        **_CAUSE,
        "helps_restart": {"type": ["boolean", "null"], "description": "null: nobody has looked."},
        "acted_at": several(time("When the supervisor acted.")),
        "would_act_at": time("When it would have acted.", unless="nothing held it back"),
        "was_right_to_wait": {"type": ["boolean", "null"], "description": "null: nobody can tell."},
    }
)
INCIDENT = record(
    {
        "id": text("Its id."),
        "opened_at": time("When it began."),
        "closed_at": time("When the last of its targets was well again.", unless="one of them is not"),
        "targets": several(NAME),
        **_CAUSE,
        "members": several(MEMBER),
    },
    "A trouble, of one target or shared by several.",
)
EVIDENCE = several({"type": "object"}, "What was seen before each act, oldest first; its keys depend on the engine.")
WHOLE_INCIDENT = {
    **INCIDENT,
    "required": [*INCIDENT["required"], "evidence"],
    "properties": {**INCIDENT["properties"], "evidence": EVIDENCE},
}
REPORT: Schema = {
    "type": "object",
    "required": ["backend", "ok"],
    "properties": {
        "backend": text("Its name or its address.", minLength=1, maxLength=2048),
        "ok": flag("Whether the request was answered well."),
        "error": {"type": ["string", "null"], "description": "What went wrong; the first 200 characters are kept."},
        "first_token_s": number("Seconds to its first token.", unless=LEFT_OUT, minimum=0, maximum=86400),
        "age_s": number("Seconds since the request ended.", unless="just now", minimum=0, maximum=3600),
        "instance": {
            "type": ["string", "null"],
            "maxLength": 2048,
            "description": "Of the liveness document: what is said of an earlier life is not held against this one.",
        },
    },
    "description": "How one real request went.",
}
KEY_CHANGE = record(
    {
        "key": text("Its name, in a section after that and a dot."),
        "before": maybe("As one would write it; null where it was not there. Secrets are hidden."),
        "after": maybe("... and where it is not there any more."),
        "takes_restart": flag("It holds only once the supervisor is started anew."),
    }
)
DIFFERENCE = record(
    {
        "file": text("What was read."),
        "applied": flag("All this has changed; else it would."),
        "targets": several(
            record(
                {
                    "name": NAME,
                    "what": text("It is added, changed or let go.", enum=["available", "changed", "disappeared"]),
                    "changes": several(KEY_CHANGE),
                    "note": text("What else one should know; empty as a rule."),
                }
            ),
            "In the order of their names.",
        ),
        "common": several(KEY_CHANGE, "What is not said of one target."),
    },
    "How the file differs from what the supervisor goes by.",
)

SCHEMAS: dict[str, Schema] = {
    "Liveness": LIVENESS,
    "Error": ERROR,
    "Alive": record({"status": {"const": "ok"}}),
    "BackendState": BACKEND_STATE,
    "ModelReady": MODEL_READY,
    "ModelNotReady": MODEL_NOT_READY,
    "HttpSd": HTTP_SD,
    "History": HISTORY,
    "Why": WHY,
    "Status": STATUS,
    "Outcome": OUTCOME,
    "Held": HELD_NOW,
    "Released": RELEASED,
    "Drained": DRAINED_NOW,
    "Probed": PROBED,
    "Signalled": SIGNALLED,
    "Paused": PAUSED,
    "Resumed": RESUMED,
    "Holds": HOLDS,
    "Incidents": record({"incidents": several(INCIDENT, "The last to begin first.")}),
    "Incident": WHOLE_INCIDENT,
    "Difference": DIFFERENCE,
    "Report": REPORT,
    "Reports": {
        "anyOf": [
            {"$ref": "#/components/schemas/Report"},
            several({"$ref": "#/components/schemas/Report"}, maxItems=100),
        ]
    },
    "Taken": record(
        {"taken": INTEGER, "unknown": several(text("A backend that is none of ours, each once."))},
        "How many reports were taken.",
    ),
}
