"""What the liveness document may look like, as JSON Schema: `docs/liveness.schema.json` is written from it."""

from typing import Any

from supervisor.core.liveness import Word
from supervisor.core.verdict import Verdict

Schema = dict[str, Any]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
TIME = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$"


def text(description: str, **more: Any) -> Schema:
    """Return the schema of a text."""
    return {"type": "string", "description": description, **more}


def time(description: str, *, unless: str = "") -> Schema:
    """Return the schema of a wall time; `unless` says what null means, where it may be null."""
    where = "UTC, ISO 8601 with milliseconds."
    if not unless:
        return {"type": "string", "format": "date-time", "pattern": TIME, "description": f"{description} {where}"}
    nullable = {"type": ["string", "null"], "format": "date-time", "pattern": TIME}
    return {**nullable, "description": f"{description} {where} null: {unless}."}


def number(description: str, *, unless: str = "", **more: Any) -> Schema:
    """Return the schema of a number; `unless` says what null means, where it may be null."""
    said = f"{description} null: {unless}." if unless else description
    return {"type": ["number", "null"] if unless else "number", "description": said, **more}


def record(properties: dict[str, Schema], description: str = "", **more: Any) -> Schema:
    """Return the schema of an object that has all of these; later versions may add others, which readers pass over."""
    said = {"description": description} if description else {}
    return {"type": "object", **said, "required": list(properties), "properties": properties, **more}


def several(items: Schema, description: str = "", **more: Any) -> Schema:
    """Return the schema of a list."""
    said = {"description": description} if description else {}
    return {"type": "array", **said, "items": items, **more}


NAME = text("Its name in the supervisor's settings.", minLength=1)
REASON = text("Why, in one CamelCase word for machines; new ones may come.", pattern="^[A-Z][A-Za-z]*$")
VERDICT = text(
    "What the evidence means. unknown: the supervisor itself could not look.", enum=[str(v) for v in Verdict]
)
STATE = text("The state in supervisord's words, for people and scripts.", enum=[str(w) for w in Word])
BACKEND = record(
    {
        "name": NAME,
        "url": text("Where it listens: scheme, host and port.", format="uri", pattern="^https?://"),
        "models": several(text("An alias, as clients ask for it."), "The aliases that it serves."),
        "routable": {"type": "boolean", "description": "Whether it may be sent requests. The one field that decides."},
        "weight": number(
            "How much to prefer it: 1 ready, less where busy, slow, asleep, just recovered or standing in for another;"
            " 0 where it is not routable. No unit.",
            minimum=0,
            maximum=1,
        ),
        "verdict": VERDICT,
        "state": STATE,
        "reason": REASON,
        "message": text("Why, in a phrase for people. It holds no duration."),
        "since": time("When it came into its present state."),
        "last_ok_at": time(
            "When it last gave a good answer to the supervisor's own question.", unless="its present life has not yet"
        ),
        "first_token_ms": number(
            "How long the first token of that answer took, in milliseconds.",
            unless="no answer yet, or of a kind that comes in one piece",
            minimum=0,
        ),
        "retry_after_s": number(
            "Not routable: when asking again may help, in whole seconds from generated_at: what is left of its backoff"
            " and of a start as long as its earlier ones. The only field that changes merely because time goes by; no"
            " new revision is made for it.",
            unless="it is routable, or waits for a person",
            minimum=1,
        ),
        "instance": {
            "type": ["string", "null"],
            "description": "Which life of it: another one after each restart, to be named in reports. null: unknown.",
        },
    },
    "One model server, in the order of the supervisor's settings.",
    **{
        "if": {"properties": {"routable": {"const": True}}},
        "then": {"properties": {"weight": {"exclusiveMinimum": 0}, "retry_after_s": {"type": "null"}}},
        "else": {"properties": {"weight": {"const": 0}}},
    },
)
LIVENESS = record(
    {
        "schema": {
            "const": 1,
            "description": "Version of this shape. A reader of another one treats it as unreadable.",
        },
        "epoch": text("Which run of the supervisor: revisions are counted within one.", minLength=1),
        "revision": {
            "type": "integer",
            "minimum": 1,
            "description": "Grows by one whenever anything changes but the stamp and retry_after_s.",
        },
        "generated_at": time("When it was stamped, by the loop that decides."),
        "expires_at": time("From then on nothing in it is known any more, and routing is to be left as it was."),
        "valid_for_s": number("From generated_at to expires_at, in seconds.", exclusiveMinimum=0),
        "mode": text("observe: the supervisor restarts nothing.", enum=["enforce", "observe"]),
        "backends": several(BACKEND),
        "models": {
            "type": "object",
            "description": "The names of the backends behind each alias, routable or not, in the settings' order.",
            "additionalProperties": several(NAME, minItems=1, uniqueItems=True),
        },
    },
    "Which model server may be sent a request: GET /v1/liveness, and the liveness file.",
)


def published() -> Schema:
    """Return the schema as it is published on its own."""
    return {"$schema": DIALECT, "title": "The liveness document of benchai-supervisor", **LIVENESS}
