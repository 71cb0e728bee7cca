"""The daemon's HTTP contract with canned answers, on a unix socket or TCP; it remembers what it was asked."""

import json
import socketserver
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from tests.fakes.documents import Document, iso


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request as it came in."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]


@dataclass
class FakeDaemon:
    """Serve `liveness`, `status`, `stories`, `incidents`, `differences`; verbs by `outcomes`, else `done`.

    Targets are those in `status`. `token` is asked for on every mutation where it is set. `under_way` are the targets
    that something is done to, answer by answer: none once that has run out.
    """

    socket_path: Path | None = None  # None: TCP on a free port
    liveness: Document | None = None
    status: Document = field(default_factory=lambda: {"targets": []})
    stories: dict[str, Document] = field(default_factory=dict)  # by target: what answers `why`
    outcomes: dict[tuple[str, str], Document] = field(default_factory=dict)
    held: dict[str, Document] = field(default_factory=dict)  # by target; '*' is a pause
    under_way: list[list[str]] = field(default_factory=list)
    incidents: list[Document] | None = field(default_factory=list)  # newest first; None: they cannot be read
    differences: Document = field(default_factory=lambda: {"targets": [], "common": []})  # of its settings
    complaint: str = ""  # what is wrong with its settings file
    logs: dict[str, bytes] = field(default_factory=dict)  # by target
    past: Document = field(default_factory=lambda: {"transitions": [], "acts": []})
    token: str | None = None
    now: Callable[[], float] = time.time  # for the Date header
    asked: list[Asked] = field(default_factory=list)

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"of": self})
        self._server: socketserver.BaseServer
        if self.socket_path is None:
            self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler)
            self.url = f"http://127.0.0.1:{self._server.socket.getsockname()[1]}"
        else:
            self._server = socketserver.ThreadingUnixStreamServer(str(self.socket_path), handler)
            self.url = f"unix://{self.socket_path}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, at: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def names(self) -> list[str]:
        """Every target's name."""
        return [target["name"] for target in self.status["targets"]]


class _Handler(BaseHTTPRequestHandler):
    of: FakeDaemon

    def do_GET(self) -> None:
        path = self._note("GET")
        if path == "/v1/liveness" and self.of.liveness is not None:
            self._send_liveness(self.of.liveness)
        elif path == "/v1/status":
            self._send(200, self.of.status)
        elif path.startswith("/v1/targets/") and path.endswith("/why"):
            self._send_story(path.removeprefix("/v1/targets/").removesuffix("/why"))
        elif path == "/v1/holds":
            self._send(200, {"holds": list(self.of.held.values()), "under_way": self._under_way()})
        elif path == "/v1/settings/difference":
            self._send_differences()
        elif path.endswith("/log"):
            self._send_log(path.split("/")[3])
        elif path == "/v1/history":
            self._send(200, self.of.past)
        elif path.startswith("/v1/incidents"):
            self._send_incidents(path.removeprefix("/v1/incidents").removeprefix("/"))
        else:
            self._send(404, {"error": {"code": "NotFound", "message": f"nothing at {path}"}})

    def do_POST(self) -> None:
        path = self._note("POST")
        if path == "/v1/reload":
            self._send_differences()
            return
        # A pause is a hold on every target.
        path = {"/v1/pause": "/v1/targets/*/hold", "/v1/resume": "/v1/targets/*/release"}.get(path, path)
        name, verb = path.removeprefix("/v1/targets/").split("/")
        if self.of.token and self.headers["Authorization"] != f"Bearer {self.of.token}":
            self._send(401, {"error": {"code": "Unauthorized", "message": f"{verb} {name}: needs the token"}})
        elif name not in [*self.of.names, "*"]:
            self._send(404, {"error": {"code": "NoSuchTarget", "message": f"no target is called {name}"}})
        elif verb == "hold":
            self._send_held(name)
        elif verb == "release":
            released = self.of.held.pop(name, None) is not None
            self._send(200, {"resumed": released} if name == "*" else {"name": name, "released": released})
        else:
            done = {"name": name, "verb": verb, "outcome": "done", "state": "RUNNING", "message": ""}
            self._send(200, done | self.of.outcomes.get((name, verb), {}))

    def _send_differences(self) -> None:
        known = [*self.of.names, *(target["name"] for target in self.of.differences["targets"])]
        wanted = self.of.asked[-1].query.get("target", [])
        strangers = [name for name in wanted if name not in known]
        if self.of.complaint:
            self._send(422, {"error": {"code": "BadSettings", "message": self.of.complaint}})
        elif strangers:
            self._send(404, {"error": {"code": "NoSuchTarget", "message": f"there is no target {strangers[0]!r}"}})
        else:
            some = [target for target in self.of.differences["targets"] if target["name"] in wanted]
            self._send(200, {"targets": some, "common": []} if wanted else self.of.differences)

    def _send_held(self, name: str) -> None:
        asked = self.of.asked[-1].query
        until = iso(self.of.now() + float(asked["for_s"][0])) if "for_s" in asked else None
        hold = {"target": name, "since": iso(self.of.now()), "until": until, "why": asked.get("why", [""])[0]}
        self.of.held[name] = hold
        paused = {"paused": True, "until": until, "under_way": self._under_way()} if name == "*" else {}
        self._send(200, paused or {"name": name, "held": True, "until": until})

    def _under_way(self) -> list[str]:
        return self.of.under_way.pop(0) if self.of.under_way else []

    def _send_incidents(self, incident_id: str) -> None:
        remembered, target = self.of.incidents, self.of.asked[-1].query.get("target", [""])[0]
        one = next((each for each in remembered or [] if each.get("id") == incident_id), None)
        if remembered is None:
            self._send(503, {"error": {"code": "HistoryUnreadable", "message": "the history cannot be read"}})
        elif incident_id and one is None:
            self._send(404, {"error": {"code": "NoSuchIncident", "message": f"there is no incident {incident_id}"}})
        elif incident_id:
            self._send(200, one)
        elif target and target not in self.of.names:
            self._send(404, {"error": {"code": "NoSuchTarget", "message": f"no target is called {target}"}})
        else:
            several = [each for each in remembered if not target or target in each["targets"]]
            limit = int(self.of.asked[-1].query["limit"][0])
            self._send(200, {"incidents": several[:limit]})

    def _note(self, method: str) -> str:
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        self.of.asked.append(Asked(method=method, path=url.path, query=query, headers=dict(self.headers.items())))
        return url.path

    def _send_log(self, name: str) -> None:
        if name not in self.of.logs:
            self._send(404, {"error": {"code": "NoSuchTarget", "message": f"no target is called {name}"}})
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(self.of.logs[name])))
        self.end_headers()
        self.wfile.write(self.of.logs[name])

    def _send_story(self, name: str) -> None:
        if name in self.of.stories:
            self._send(200, self.of.stories[name])
        else:
            self._send(404, {"error": {"code": "NoSuchTarget", "message": f"no target is called {name}"}})

    def _send_liveness(self, document: Document) -> None:
        etag = f'W/"{document["epoch"]}.{document["revision"]}"'
        headers = {"ETag": etag, "Liveness-Expires-At": document["expires_at"]}
        unchanged = self.headers["If-None-Match"] == etag
        self._send(304 if unchanged else 200, None if unchanged else document, headers)

    def _send(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        body = b"" if content is None else json.dumps(content).encode()
        self.send_response_only(status)
        common = {
            "Date": self.date_time_string(self.of.now()),
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
        }
        for name, value in (common | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
