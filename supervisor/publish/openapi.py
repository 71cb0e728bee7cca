"""What the HTTP face answers, described in OpenAPI: served at `/openapi.json`, and written to `docs/openapi.json`.

By hand, beside the code that answers; tests ask the running daemon whether it is true.
"""

from collections.abc import Mapping
from typing import Any

from supervisor import __version__
from supervisor.core.events import Verb
from supervisor.publish.asked import DEFAULT_WAIT_S, MAX_WAIT_S, MOST, USUAL_LIMIT
from supervisor.publish.liveness_schema import Schema
from supervisor.publish.logs import MOST_BYTES, MOST_LINES, USUAL_BYTES
from supervisor.publish.openapi_schemas import SCHEMAS
from supervisor.publish.tending import PROBED_WITHIN_S, SIGNALS

DESCRIPTION = """Which model server may be sent a request, what is believed of every target, and the few things an
operator may ask for. Everybody may read. Changes and reports come in by the unix socket, or with the token over the
port. HEAD is answered wherever GET is. A name that stands for nothing is 404, with those there are."""
ERRORS = {
    "400": "The request cannot be read; the message names what is wrong, and what would be right.",
    "401": "The token is missing or wrong.",
    "403": "No token is set, so changes come in by the unix socket only.",
    "404": "The name stands for nothing; the message lists those that do.",
    "409": "It has no log that can be read; the message says why.",
    "413": "The body is too long.",
    "422": "The settings cannot be used, and nothing has changed; the message is what --check says, a line each.",
    "503": "Not now.",
}
RETRY_AFTER = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}}
CHALLENGE = {"WWW-Authenticate": {"schema": {"const": "Bearer"}}}
CHANGES = ("401", "403")


def document() -> dict[str, Any]:
    """Return the description."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "benchai-supervisor",
            "version": __version__,
            "description": DESCRIPTION.replace("\n", " "),
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": {path: _with_head(operations) for path, operations in _paths().items()},
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "http.token"}},
        },
    }


def _paths() -> dict[str, dict[str, Any]]:
    return {
        "/livez": {"get": _get("Whether the supervisor's own loop runs", "Alive", "503")},
        "/readyz": {"get": _get("Whether every target has been looked at", "Alive", "503")},
        "/openapi.json": {"get": _read("This description", {"200": _json({"type": "object"}, "OpenAPI 3.1.")})},
        "/v1/liveness": {"get": _liveness()},
        "/v1/events": {"get": _events()},
        "/v1/backends/{name}": {"get": _backend()},
        "/v1/models/{alias}/ready": {"get": _ready()},
        "/v1/http_sd": {"get": _get("Where every target is, for Prometheus", "HttpSd")},
        "/v1/status": {"get": _get("What people are told of every target", "Status")},
        "/v1/history": {"get": _get("How targets came to be where they are", "History", "400", "404", "503", *_LISTED)},
        "/v1/targets/{name}/why": {"get": _get("Why a target is where it is", "Why", "404", "503", _NAME)},
        "/v1/targets/{name}/hold": {"post": _change("Keep from acting on a target", "Held", _NAME, *_HELD)},
        "/v1/targets/{name}/drain": {
            "post": _change("Take a target out of rotation", "Drained", _NAME, *_HELD, _within("Its users' ends.", 0))
        },
        "/v1/targets/{name}/probe": {"post": _probe()},
        "/v1/targets/{name}/signal": {"post": _change("Send a target a signal", "Signalled", _NAME, _SIGNAL)},
        "/v1/targets/{name}/log": {"get": _log()},
        "/v1/targets/{name}/release": {"post": _change("End the hold on a target, and its drain", "Released", _NAME)},
        "/v1/targets/{name}/{verb}": {"post": _verb()},
        "/v1/pause": {"post": _change("Keep from acting on any target", "Paused", *_HELD)},
        "/v1/resume": {"post": _change("End the pause", "Resumed")},
        "/v1/holds": {"get": _get("What is held, and what is under way", "Holds")},
        "/v1/incidents": {"get": _get("The last troubles", "Incidents", "400", "404", "503", *_LISTED)},
        "/v1/incidents/{id}": {
            "get": _get("One trouble with its evidence", "Incident", "404", "503", _in_path("id", "Of the trouble."))
        },
        "/v1/observations": {"post": _observations()},
        "/v1/settings/difference": {"get": _kept(_get("How the settings differ from the file", "Difference", *_FILE))},
        "/v1/reload": {"post": _change("Go by the settings as the file says now", "Difference", "422", "503", *_FILE)},
    }


def _with_head(operations: dict[str, Any]) -> dict[str, Any]:
    """Describe HEAD where GET is: the same, without a body."""
    if (get := operations.get("get")) is None:
        return operations
    bare = {
        status: {key: value for key, value in response.items() if key != "content"}
        for status, response in get["responses"].items()
    }
    return {**operations, "head": {**get, "summary": f"{get['summary']}, without the body", "responses": bare}}


def _get(summary: str, schema: str, *more: str | Schema) -> dict[str, Any]:
    """Describe a GET; `more` are its refusals and its parameters."""
    responses = {"200": _json(_ref(schema), summary)}
    return _read(summary, {**responses, **_refusals(more)}, more)


def _change(summary: str, schema: str, *more: str | Schema) -> dict[str, Any]:
    """Describe a POST that changes something; `more` are its refusals and its parameters."""
    parameters = [each for each in more if isinstance(each, dict)]
    own = ["400"] * any(each["in"] == "query" for each in parameters)
    own += ["404"] * any(each["in"] == "path" for each in parameters)
    responses = {"200": _json(_ref(schema), summary), **_refusals((*more, *own, *CHANGES))}
    return {**_read(summary, responses, more), "security": [{"token": []}, {}]}


def _kept(operation: dict[str, Any]) -> dict[str, Any]:
    """Describe a GET that is not for everybody."""
    responses = {**operation["responses"], **_refusals(CHANGES)}
    return {**operation, "responses": dict(sorted(responses.items())), "security": [{"token": []}, {}]}


def _read(summary: str, responses: dict[str, Any], more: tuple[str | Schema, ...] = ()) -> dict[str, Any]:
    parameters = [each for each in more if isinstance(each, dict)]
    return {"summary": summary, **({"parameters": parameters} if parameters else {}), "responses": responses}


def _refusals(statuses: tuple[str | Schema, ...]) -> dict[str, Any]:
    said = sorted(each for each in statuses if isinstance(each, str))
    headers: Mapping[str, Any] = {"401": CHALLENGE}
    return {each: _json(_ref("Error"), ERRORS[each], headers=headers.get(each)) for each in said}


def _json(schema: Schema, description: str, *, headers: Mapping[str, Any] | None = None) -> dict[str, Any]:
    told = {"description": description, "content": {"application/json": {"schema": schema}}}
    return told if headers is None else {**told, "headers": dict(headers)}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _in_path(name: str, description: str, **schema: Any) -> Schema:
    own = {"type": "string", "minLength": 1, **schema}
    return {"name": name, "in": "path", "required": True, "description": description, "schema": own}


def _in_query(name: str, description: str, schema: Schema) -> Schema:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _in_header(name: str, description: str) -> Schema:
    return {"name": name, "in": "header", "description": description, "schema": {"type": "string"}}


_NAME = _in_path("name", "Of the target.")
_LISTED = (
    _in_query("target", "Only of this target.", {"type": "string"}),
    _in_query(
        "limit", "The newest so many.", {"type": "integer", "minimum": 1, "maximum": MOST, "default": USUAL_LIMIT}
    ),
)
_FILE = (
    "404",
    "422",
    _in_query(
        "target",
        "Only what the file says of this target; any number of them.",
        {"type": "array", "items": {"type": "string"}},
    ),
)
_HELD = (
    _in_query(
        "for_s",
        "For so many seconds; until it is released where it is left out.",
        {"type": "number", "exclusiveMinimum": 0, "maximum": 31_536_000},
    ),
    _in_query("why", "On one line, printable.", {"type": "string", "maxLength": 200, "format": "printable"}),
)


_SIGNAL = {
    **_in_query("signal", "Its name, with SIG before it or without.", {"type": "string", "enum": list(SIGNALS)}),
    "required": True,
}


def _within(what: str, usual_s: float) -> Schema:
    schema = {"type": "number", "minimum": 0, "maximum": MAX_WAIT_S, "default": usual_s}
    return _in_query("wait_s", f"For how many seconds to wait. {what}", schema)


def _flag(name: str, description: str, *, usual: str = "0") -> Schema:
    return _in_query(name, description, {"type": "string", "enum": ["0", "1"], "default": usual})


def _probe() -> dict[str, Any]:
    return _change(
        "Send a target one canary now, where that hurts nobody",
        "Probed",
        _NAME,
        _within("The answer.", PROBED_WITHIN_S),
        _flag("patient", "1: wait for a free slot first."),
        _flag("wake", "1: even if that wakes it."),
    )


def _log() -> dict[str, Any]:
    said = (
        "The end of it. With follow=1 it does not end: what is printed comes as it is printed, a restart of the target"
        " is told in a line, and a reader that takes nothing for 10 s is hung up on."
    )
    most: Schema = {"type": "integer", "minimum": 0, "maximum": MOST_BYTES, "default": USUAL_BYTES}
    parameters = (
        _NAME,
        _in_query("bytes", "The last so many; where lines are asked for, as many as they take.", most),
        _in_query("lines", "The last so many.", {"type": "integer", "minimum": 0, "maximum": MOST_LINES}),
        _flag("follow", "1: go on with what is printed."),
    )
    responses = {
        "200": {"description": said, "content": {"text/plain": {"schema": {"type": "string"}}}},
        **_refusals(("400", "404", "409", "503", *CHANGES)),
    }
    told = _read("What a target printed, which may hold its users' words", responses, parameters)
    return {**told, "security": [{"token": []}, {}]}


def _liveness() -> dict[str, Any]:
    until = {"description": "expires_at, also of an unchanged document.", "schema": {"type": "string"}}
    headers = {"ETag": {"schema": {"type": "string"}}, "Liveness-Expires-At": until}
    responses = {
        "200": _json(_ref("Liveness"), "The document.", headers=headers),
        "304": {"description": "Nothing has changed but how long it is true.", "headers": headers},
    }
    seen = _in_header("If-None-Match", "The ETag of the document that the reader holds.")
    return _read("Which model server may be sent a request", responses, (seen,))


def _events() -> dict[str, Any]:
    said = (
        "Server-Sent Events. `liveness`: the whole document on one line, at once and whenever it changes. `transition`:"
        " target, before, after, reason, message, at. Both have an id; with a Last-Event-ID that is remembered, what"
        " was missed is sent instead. `fresh`, without an id: epoch, revision, generated_at, expires_at, valid_for_s,"
        " at once and whenever the document was stamped anew, every 2 s at most: it extends the life of the document"
        " of that revision. A comment every 15 s of silence. A reader that falls behind is hung up on."
    )
    responses = {
        "200": {"description": said, "content": {"text/event-stream": {"schema": {"type": "string"}}}},
        "503": _json(_ref("Error"), "Too many streams are open.", headers=RETRY_AFTER),
    }
    last = _in_header("Last-Event-ID", "The id of the last event that the reader was sent.")
    return _read("What changes, as it changes", responses, (last,))


def _backend() -> dict[str, Any]:
    responses = {
        "200": _json(_ref("BackendState"), "It is routable."),
        "503": _json(_ref("BackendState"), "It is not routable.", headers=RETRY_AFTER),
        **_refusals(("404",)),
    }
    return _read("Whether one backend may be sent requests", responses, (_in_path("name", "Of the backend."),))


def _ready() -> dict[str, Any]:
    responses = {
        "200": _json(_ref("ModelReady"), "Those that can serve it, best first."),
        "503": _json(_ref("ModelNotReady"), "None of its backends is routable.", headers=RETRY_AFTER),
        **_refusals(("404",)),
    }
    alias = _in_path("alias", "The model as clients ask for it; it may hold slashes, encoded or not.")
    return _read("Whether a model can be served", responses, (alias,))


def _verb() -> dict[str, Any]:
    return _change(
        "Start, stop or restart a target",
        "Outcome",
        _NAME,
        _in_path("verb", "What to do.", enum=[str(each) for each in Verb]),
        _within("The outcome.", DEFAULT_WAIT_S),
        _flag("drain", "1: whoever is being served may be served to the end first.", usual="1"),
    )


def _observations() -> dict[str, Any]:
    responses = {"202": _json(_ref("Taken"), "Taken."), **_refusals(("400", "413", *CHANGES))}
    body = {"required": True, "content": {"application/json": {"schema": _ref("Reports")}}}
    told = _read("Report how real requests went", responses)
    return {**told, "requestBody": body, "security": [{"token": []}, {}]}
