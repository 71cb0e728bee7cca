"""Ask the running daemon over its unix socket or TCP, and say in one line what went wrong.

Standard library only: the CLI must start fast.
"""

import http.client
import json
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from email.utils import mktime_tz, parsedate_tz
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from supervisor.errors import SupervisorError

if TYPE_CHECKING:
    from supervisor.cli.events import Event

SILENCE_S = 35.0  # a stream says every 15 s that it lives
ANSWER_S = 5.0  # the daemon answers from memory; longer means that it hangs
READ_S = 5.0  # more: it reads a file, and waits for its disk no longer
RELOAD_S = 600.0  # more: what is being done to a target is let end first
MAX_ANSWER_BYTES = 4 << 20
MAX_HISTORY_BYTES = 64 << 20  # evidence comes with it


class DaemonUnreachable(SupervisorError):
    """No daemon answers there, or what answers is not ours."""


class DaemonRefused(SupervisorError):
    """The daemon answered no; `code` is its word for the reason."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Answer(NamedTuple):  # not a dataclass: importing those takes as long as the daemon's answer
    """What the daemon said, and the time by the daemon's own clock."""

    content: dict[str, Any]
    now_s: float


class Daemon:
    """The daemon at `server`: `unix:///path/of/a.sock` or `http://host:port`; ValueError for anything else."""

    def __init__(self, server: str, *, token: str = "", answer_s: float = ANSWER_S) -> None:
        self._server = server
        self._answer_s = answer_s
        self._address = _split(server)
        if token and not (token.isascii() and token.isprintable()):
            raise ValueError("BENCHAI_SUPERVISOR_TOKEN holds a character that no header can carry")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def status(self) -> Answer:
        """Return what the daemon believes of its targets."""
        return self._expect(self._ask("GET", "/v1/status"), "targets", "expires_at", "daemon")

    def named(self, names: Sequence[str], *, to_act: bool = False) -> list[str]:
        """Return the targets that are meant, each once; `all`: every one, with `to_act` that can be acted upon."""
        if "all" in names:
            targets = self.status().content["targets"]
            names = [each["name"] for each in targets if not (to_act and each.get("watched_only"))]
        return list(dict.fromkeys(names))

    def why(self, name: str) -> dict[str, Any]:
        """Return the story of target `name`, and what it rests on."""
        return self._expect(self._ask("GET", f"/v1/targets/{_quoted(name)}/why"), "story", "statements").content

    def act(self, verb: str, name: str, *, wait_s: float, drains: bool = True) -> dict[str, Any]:
        """Have `verb` done to target `name`; return the outcome once it is known or `wait_s` is over."""
        path = f"/v1/targets/{_quoted(name)}/{verb}?wait_s={wait_s:g}{'' if drains else '&drain=0'}"
        return self._ask("POST", path, more_s=wait_s).content

    def hold(self, name: str, *, for_s: int | None, why: str) -> Answer:
        """Have target `name` left alone for `for_s` seconds, or until it is released."""
        return self._ask("POST", f"/v1/targets/{_quoted(name)}/hold{_query(for_s=for_s, why=why)}")

    def release(self, name: str) -> bool:
        """End the hold on target `name`; False where there was none."""
        return self._ask("POST", f"/v1/targets/{_quoted(name)}/release").content.get("released") is True

    def pause(self, *, for_s: int | None, why: str) -> Answer:
        """Have every target left alone; `under_way` are those that something is being done to now."""
        return self._ask("POST", f"/v1/pause{_query(for_s=for_s, why=why)}")

    def resume(self) -> bool:
        """End the pause; False where there was none."""
        return self._ask("POST", "/v1/resume").content.get("resumed") is True

    def drain(self, name: str, *, for_s: int | None, why: str, wait_s: float) -> Answer:
        """Take target `name` out of rotation; return how far that has come within `wait_s`."""
        query = _query(for_s=for_s, why=why, wait_s=f"{wait_s:g}")
        return self._ask("POST", f"/v1/targets/{_quoted(name)}/drain{query}", more_s=wait_s)

    def signal(self, name: str, number: str) -> dict[str, Any]:
        """Send target `name` a signal; return what to expect of it."""
        return self._ask("POST", f"/v1/targets/{_quoted(name)}/signal{_query(signal=number)}").content

    def probe(self, name: str, *, wait_s: float, patient: bool, wakes: bool) -> dict[str, Any]:
        """Have target `name` asked for a little inference; return what came of it within `wait_s`."""
        query = _query(wait_s=f"{wait_s:g}", patient="1" if patient else "", wake="1" if wakes else "")
        return self._ask("POST", f"/v1/targets/{_quoted(name)}/probe{query}", more_s=wait_s).content

    def history(self, *, target: str | None, limit: int) -> Answer:
        """Return the newest changes and acts, newest first: of one target, or of all."""
        path = f"/v1/history{_query(target=target, limit=limit)}"
        return self._expect(self._ask("GET", path, most_bytes=MAX_HISTORY_BYTES), "transitions")

    def log(
        self, name: str, *, most_bytes: int | None, lines: int | None, follow: bool, at_once: int
    ) -> Iterator[bytes]:
        """Yield what target `name` printed, and with `follow` what it prints, for as long as the daemon lives."""
        query = _query(bytes=most_bytes, lines=lines, follow="1" if follow else "")
        connection = _connection(self._address, self._answer_s)
        try:
            try:
                connection.request("GET", f"/v1/targets/{_quoted(name)}/log{query}", headers=self._headers)
                reply = connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                raise self._unreachable(error, self._answer_s) from error
            if not (reply.headers["Content-Type"] or "").startswith("text/plain"):
                self._understand(reply, reply.read(MAX_ANSWER_BYTES))
                raise self._stranger()
            if follow and connection.sock is not None:
                connection.sock.settimeout(None)  # a log may be silent for hours
            try:
                while piece := reply.read1(at_once):
                    yield piece
            except (OSError, http.client.HTTPException) as error:
                raise self._unreachable(error, self._answer_s) from error
        finally:
            connection.close()

    def holds(self) -> Answer:
        """Return what is held, and what is under way."""
        return self._expect(self._ask("GET", "/v1/holds"), "holds")

    def difference(self, name: str | None = None) -> dict[str, Any]:
        """Return how the settings file differs from what the daemon goes by: in all, or about one target."""
        answer = self._ask("GET", f"/v1/settings/difference{_query(target=name)}", more_s=READ_S)
        return self._expect(answer, "targets", "common").content

    def reload(self, name: str | None = None) -> dict[str, Any]:
        """Have the daemon go by the settings file as it is now, or by what that says of one target."""
        return self._expect(
            self._ask("POST", f"/v1/reload{_query(target=name)}", more_s=RELOAD_S), "targets", "common"
        ).content

    def incidents(self, *, target: str | None, limit: int) -> Answer:
        """Return the newest incidents, newest first: of one target, or of all."""
        path = f"/v1/incidents{_query(target=target, limit=limit)}"
        return self._expect(self._ask("GET", path, most_bytes=MAX_HISTORY_BYTES), "incidents")

    def incident(self, incident_id: str) -> Answer:
        """Return one incident with its evidence."""
        path = f"/v1/incidents/{_quoted(incident_id)}"
        return self._expect(self._ask("GET", path, most_bytes=MAX_HISTORY_BYTES), "id", "members")

    def follow(self) -> "Iterator[Event]":
        """Yield what changes as it is told, until the daemon ends or is silent."""
        from supervisor.cli.events import events

        connection = _connection(self._address, SILENCE_S)
        try:
            connection.request("GET", "/v1/events", headers={**self._headers, "Accept": "text/event-stream"})
            reply = connection.getresponse()
            if reply.status != http.client.OK:
                self._understand(reply, reply.read(MAX_ANSWER_BYTES))
                raise self._stranger()
            yield from events(reply)
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error, SILENCE_S) from error
        finally:
            connection.close()

    def _expect(self, answer: Answer, *keys: str) -> Answer:
        if not answer.content.keys() >= set(keys):
            raise self._stranger()
        return answer

    def _ask(self, method: str, path: str, *, more_s: float = 0.0, most_bytes: int = MAX_ANSWER_BYTES) -> Answer:
        timeout_s = self._answer_s + more_s
        connection = _connection(self._address, timeout_s)
        try:
            connection.request(method, path, headers=self._headers)
            reply = connection.getresponse()
            body = reply.read(most_bytes)
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error, timeout_s) from error
        finally:
            connection.close()
        return self._understand(reply, body)

    def _understand(self, reply: http.client.HTTPResponse, body: bytes) -> Answer:
        try:
            content = json.loads(body)
        except ValueError as no_json:
            raise self._stranger() from no_json
        if not isinstance(content, dict):
            raise self._stranger()
        if reply.status >= http.client.BAD_REQUEST:
            error = content.get("error")
            if not isinstance(error, dict) or not isinstance(error.get("code"), str):
                raise self._stranger()  # a model server has words of its own
            raise DaemonRefused(error["code"], _with_cure(reply.status, str(error.get("message") or "it says no more")))
        date = parsedate_tz(reply.headers["Date"] or "")
        return Answer(content=content, now_s=mktime_tz(date) if date else time.time())

    def _unreachable(self, error: Exception, timeout_s: float) -> DaemonUnreachable:
        match error:
            case FileNotFoundError():
                why, cure = (
                    "no such socket",
                    "is the daemon running? Start benchai-supervisord, or name it with --server",
                )
            case ConnectionRefusedError():
                why, cure = "nobody listens", "the daemon is not running: start benchai-supervisord"
            case socket.gaierror():
                why, cure = "there is no host of that name", "correct it, or give its address"
            case PermissionError():
                why, cure = "permission denied", "run this as root or as a member of the socket's group"
            case TimeoutError():
                why, cure = (
                    f"no answer within {timeout_s:g} s",
                    "the daemon may hang: look into its log, then restart it",
                )
            case _:
                why, cure = str(error) or type(error).__name__, "look into the daemon's log, or name it with --server"
        return DaemonUnreachable(f"cannot reach the daemon at {self._server}: {why}; {cure}")

    def _stranger(self) -> DaemonUnreachable:
        return DaemonUnreachable(
            f"what answers at {self._server} is not benchai-supervisord; name the right address with --server"
        )


def _with_cure(status: int, message: str) -> str:
    """Return why the daemon refused; how a token is given here, and not over HTTP, is for us to say."""
    if status != http.client.UNAUTHORIZED:
        return message
    return f"{message.partition(';')[0]}; set BENCHAI_SUPERVISOR_TOKEN to the daemon's http.token"


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _split(server: str) -> SplitResult:
    parts = urlsplit(server)
    with suppress(ValueError):
        if {"unix": parts.path, "http": parts.hostname and (parts.port or 80)}.get(parts.scheme):
            return parts
    raise ValueError(f"{server!r} is no address of a daemon: give unix:///path/of/a.sock or http://host:port")


def _quoted(name: str) -> str:
    return quote(name, safe="", errors="surrogateescape")  # a shell may hand in what is no text


def _query(**given: str | int | None) -> str:
    known = {key: value for key, value in given.items() if value not in (None, "")}
    return f"?{urlencode(known, errors='surrogateescape')}" if known else ""


def _connection(address: SplitResult, timeout_s: float) -> http.client.HTTPConnection:
    if address.scheme == "unix":
        return _UnixConnection(address.path, timeout_s)
    return http.client.HTTPConnection(str(address.hostname), address.port or 80, timeout=timeout_s)
