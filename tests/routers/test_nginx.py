"""nginx with our configuration and the script that keeps its upstreams: the basics, with servers of our making.

It cannot keep the whole contract: it does not look into bodies, and knows no weights that may change.
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from integrations.nginx.benchai_nginx import Include, Nginx, render
from supervisor.client import Liveness
from testbed.leaving import Leaving
from testbed.routers.base import Served
from testbed.routers.nginx import NginxRouter
from tests.fakes.documents import Document, document, entry, publish
from tests.fakes.town import content, hung, wait_until
from tests.fakes.upstream import Behaviour, Connection, Upstream, answers, fails, hangs_up, resets

MODELS = {"general": ("general",), "planner": ("planner", "research"), "code": ("code",)}
WITHIN_S = 10.0
BODY = {"messages": [{"role": "user", "content": "say hi"}]}


class Place(Leaving):
    """nginx in front of one fake server per name, and a liveness file that the test writes."""

    def __init__(self, folder: Path) -> None:
        self._stack = contextlib.ExitStack()
        self.file = folder / "liveness.json"
        self.upstreams = {name: Upstream(answers(f"from {name}")) for name in MODELS}
        served = Served(
            backends={name: upstream.url for name, upstream in self.upstreams.items()},
            models={"auto": tuple(MODELS)},
            liveness_file=self.file,
            supervisor_url="http://127.0.0.1:1",
            control_socket=folder / "unused.sock",
        )
        self.router = NginxRouter(folder / "nginx", served)
        self.client = httpx.Client(base_url=self.router.url, timeout=WITHIN_S, trust_env=False)

    def start(self) -> None:
        """Start everything."""
        for upstream in self.upstreams.values():
            self._stack.enter_context(upstream)
        self.say()
        self.router.start()

    def say(self, *, valid_for_s: float = 60.0, **changes: Document) -> None:
        """Publish that all are ready, but for `changes`."""
        entries = [
            entry(name, **{"url": self.upstreams[name].url, "models": models, **changes.get(name, {})})
            for name, models in MODELS.items()
        ]
        publish(self.file, document(*entries, now_s=time.time(), valid_for_s=valid_for_s))

    def ask(self, alias: str, *, stream: bool = False) -> httpx.Response:
        """Ask for an alias."""
        return self.client.post(f"/{alias}/v1/chat/completions", json={**BODY, "stream": stream})

    def wait_status(self, alias: str, status: int) -> httpx.Response:
        """Ask until the answer has this status, as it has once nginx has read its files again."""
        wait_until(lambda: self.ask(alias).status_code == status)
        return self.ask(alias)

    def behave(self, **behaviours: Behaviour) -> None:
        """Change what servers do."""
        for name, behaviour in behaviours.items():
            self.upstreams[name].behave = behaviour

    def leave(self) -> None:
        """End everything."""
        self.client.close()
        self.router.leave()
        self._stack.close()


@pytest.fixture
def place(nginx: None, tmp_path: Path) -> Iterator[Place]:  # noqa: ARG001 - it must be there
    with Place(tmp_path) as place:
        place.start()
        yield place


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_the_model_in_the_path_is_answered_by_its_backend(place: Place, stream: bool) -> None:
    assert [content(place.ask(alias, stream=stream)) for alias in ("general", "research", "code")] == [
        "from general",
        "from planner",
        "from code",
    ]


def test_whoever_hangs_gets_nothing_once_it_is_told(place: Place) -> None:
    place.say(general=hung())
    refused = place.wait_status("general", 503)
    before = len(place.upstreams["general"].connections)

    answers = {content(place.ask("auto")) for _ in range(6)}

    assert answers == {"from planner", "from code"}
    assert len(place.upstreams["general"].connections) == before
    assert int(refused.headers["Retry-After"]) >= 1
    assert refused.json()["error"]["code"] == "no_backend_available"


def test_with_all_of_them_out_auto_is_refused_until_one_is_back(place: Place) -> None:
    place.say(general=hung(), planner=hung(), code=hung())
    place.wait_status("auto", 503)
    place.say(general=hung(), planner=hung())

    assert content(place.wait_status("auto", 200)) == "from code"


def test_an_expired_document_keeps_nobody_out(place: Place) -> None:
    place.say(code=hung(), valid_for_s=1.5)
    place.wait_status("code", 503)

    assert content(place.wait_status("code", 200)) == "from code"


@pytest.mark.parametrize("bad", [resets, hangs_up, fails("503 Service Unavailable")], ids=["resets", "ends", "loads"])
def test_another_is_asked_where_one_answers_nothing(place: Place, bad: Behaviour) -> None:
    place.behave(general=bad)

    assert {content(place.ask("auto")) for _ in range(6)} == {"from planner", "from code"}


def test_a_large_body_passes(place: Place) -> None:
    response = place.client.post("/code/v1/chat/completions", json={**BODY, "user": "x" * 1_000_000})

    assert content(response) == "from code"


def test_a_stream_goes_on_while_its_backend_is_taken_out(place: Place) -> None:
    may_end = threading.Event()

    def slowly(connection: Connection) -> None:
        connection.send_head("text/event-stream")
        connection.send_event("one")
        may_end.wait(WITHIN_S)
        connection.send_event("two")
        connection.send_chunk("")

    place.behave(code=slowly)
    with place.client.stream("POST", "/code/v1/chat/completions", json={**BODY, "stream": True}) as response:
        pieces = response.iter_text()
        first = next(pieces)
        place.say(code=hung())
        wait_until(lambda: is_refused(place, "code"))
        may_end.set()
        rest = "".join(pieces)

    assert "one" in first
    assert "two" in rest


def is_refused(place: Place, alias: str) -> bool:
    """Say whether a request is refused at once; one that is not may wait for long."""
    with contextlib.suppress(httpx.ReadTimeout):
        return place.client.post(f"/{alias}/v1/chat/completions", json=BODY, timeout=0.3).status_code == 503
    return False


def test_whatever_is_no_model_is_not_found(place: Place) -> None:
    assert place.ask("gpt-9").status_code == 404


def test_a_busy_backend_is_no_reason_to_reload(place: Place) -> None:
    before = place.router.include.stat().st_mtime_ns
    place.say(general={"weight": 0.3, "verdict": "busy", "retry_after_s": 3.0})
    time.sleep(1.0)

    assert place.router.include.stat().st_mtime_ns == before


# --- the include ------------------------------------------------------------------------------------------------------


def test_an_include_that_nginx_does_not_take_is_put_back(tmp_path: Path) -> None:
    path = tmp_path / "include.conf"
    path.write_text("as it was")
    include = Include(path, Nginx(test=["false"], reload=["touch", str(tmp_path / "reloaded")]))

    assert "false" in include.put("worse")
    assert path.read_text() == "as it was"
    assert [each.name for each in tmp_path.iterdir()] == ["include.conf"]


def test_names_and_addresses_that_could_mean_something_to_nginx_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "liveness.json"
    strange = [
        entry("a", url="http://127.0.0.1:1;}", models=("good",)),
        entry("b", url="https://127.0.0.1:2", models=("tls",)),
        entry("c", url="http://127.0.0.1:3", models=("a b; }", "fine")),
    ]
    publish(file, document(*strange, now_s=time.time()))

    text = render(Liveness(file).snapshot())

    assert [line for line in text.splitlines() if line.startswith("upstream")] == ["upstream benchai_fine {"]
    assert [line.strip() for line in text.splitlines() if "server " in line] == ["server 127.0.0.1:3 max_fails=0;"]
