"""HAProxy with our configuration: what becomes of single requests, with servers of our making and agent checks."""

import asyncio
import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from supervisor.core.restraint import Curb, Restraint
from supervisor.core.state import Phase
from supervisor.publish.agent import AgentServer, listen
from testbed.clients import wait_until
from testbed.leaving import Leaving
from testbed.routers.base import Served
from testbed.routers.haproxy import CONFIGURATION, HaproxyRouter
from tests.fakes.town import ask, content
from tests.fakes.upstream import Behaviour, Connection, Upstream, answers, fails, hangs_up, resets, silent
from tests.publish.believing import HUNG, Time, snapshot

NAMES = ("general", "planner", "code", "vision")
HEARD_S = 1.2  # two agent checks and a little
WITHIN_S = 10.0
pytestmark = pytest.mark.usefixtures("haproxy")
DRAINED = Restraint(curb=Curb.DRAINED, message="drained by the operator")
LOADING = fails("503 Service Unavailable", '{"error": {"message": "Loading model"}}')


class Told(Leaving):
    """Agent checks answered by ours, in a thread, from what the test says."""

    def __init__(self) -> None:
        self._time = Time()
        self._board = self._time.board(*(snapshot(name) for name in NAMES))
        self._listener = listen("127.0.0.1", 0)
        self.port = int(self._listener.getsockname()[1])
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def start(self) -> None:
        """Serve."""
        server = AgentServer(self._listener, self._board, clock=lambda: self._time.now)
        self._task = self._loop.create_task(server.run())
        self._thread.start()

    def say(self, name: str, phase: Phase, *, drain: Restraint | None = None) -> None:
        """Say what a backend's phase is, and wait until HAProxy has heard it."""
        self._board.put(snapshot(name, phase=phase, judgement=HUNG, drain=drain, restraint=drain))
        time.sleep(HEARD_S)

    def leave(self) -> None:
        """End it."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._task.cancel)
            self._thread.join(WITHIN_S)
        self._listener.close()

    def _serve(self) -> None:
        self._loop.run_until_complete(asyncio.gather(self._task, return_exceptions=True))
        self._loop.close()


class Place(Leaving):
    """HAProxy in front of one fake server per name."""

    def __init__(self, folder: Path) -> None:
        self.upstreams = {name: Upstream(answers(f"from {name}")) for name in NAMES}
        self.supervisor = Upstream(fails("200 OK"))  # /livez is good
        self.told = Told()
        self._stack = contextlib.ExitStack()
        served = Served(
            backends={name: upstream.url for name, upstream in self.upstreams.items()},
            models={},
            liveness_file=folder / "unused.json",
            supervisor_url=self.supervisor.url,
            control_socket=folder / "unused.sock",
            agent_port=self.told.port,
            extra={"SUPERVISOR_FALL": "1"},
        )
        self.router = HaproxyRouter(folder, served)
        self.client = httpx.Client(base_url=self.router.url, timeout=WITHIN_S, trust_env=False)

    def start(self) -> None:
        """Start all but HAProxy."""
        for upstream in (*self.upstreams.values(), self.supervisor):
            self._stack.enter_context(upstream)
        self.told.start()

    def open(self, **replaced: str) -> httpx.Client:
        """Start HAProxy and return a client of it; `replaced` timeouts are written into a copy of its configuration."""
        if replaced:
            text = CONFIGURATION.read_text()
            for name, value in replaced.items():
                line = next(each for each in text.splitlines() if each.startswith(f"    timeout {name} "))
                text = text.replace(line, f"    timeout {name} {value}", 1)
            self.router.configuration = self.router.folder / "haproxy.cfg"
            self.router.configuration.write_text(text)
        self.router.start()
        return self.client

    def behave(self, **behaviours: Behaviour) -> None:
        """Change what servers do."""
        for name, behaviour in behaviours.items():
            self.upstreams[name].behave = behaviour

    def leave(self) -> None:
        """End everything."""
        self.client.close()
        self.router.leave()
        self.told.leave()
        self._stack.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with Place(tmp_path) as place:
        place.start()
        yield place


def thinks(seconds: float) -> Behaviour:
    """Answer, but late."""

    def behave(connection: Connection) -> None:
        connection.wait(seconds)
        answers("at last")(connection)

    return behave


def test_our_configuration_is_good_as_it_stands() -> None:
    checked = subprocess.run(["haproxy", "-c", "-f", str(CONFIGURATION)], capture_output=True, text=True, check=False)

    assert (checked.returncode, checked.stderr) == (0, "")


def test_a_request_arrives_as_it_was_sent_and_the_answer_says_who_answered(place: Place) -> None:
    response = ask(place.open(), "research", user="ü" * 100)

    assert content(response) == "from planner"
    assert response.headers["X-Backend"] == "planner"
    assert place.upstreams["planner"].connections[0].body == response.request.content


@pytest.mark.parametrize("body", [{"messages": []}, {"model": "", "messages": []}], ids=str)
def test_a_request_without_a_model_is_for_auto(place: Place, body: dict[str, object]) -> None:
    assert place.open().post("/v1/chat/completions", json=body).headers["X-Backend"] == "general"


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "code"),
    [
        pytest.param("POST", "/v1/chat/completions", b'{"model": "gpt-9"}', 404, "model_not_found", id="no-such-model"),
        pytest.param("POST", "/v1/chat/completions", b'{"model": 5}', 404, "model_not_found", id="a-number"),
        pytest.param("POST", "/v1/chat/completions", b"x" * 2_000_001, 413, "request_too_large", id="too-large"),
        pytest.param("GET", "/v1/chat/completions", b"", 405, "method_not_allowed", id="got"),
        pytest.param("POST", "/slots", b"{}", 404, "not_found", id="not-for-clients"),
    ],
)
def test_a_request_that_is_none_gets_an_error_in_openais_shape(
    place: Place, method: str, path: str, content: bytes, status: int, code: str
) -> None:
    response = place.open().request(method, path, content=content)

    assert response.status_code == status
    assert response.json()["error"]["code"] == code
    assert response.json()["error"]["type"] == "invalid_request_error"


def test_a_large_body_in_chunks_is_routed_by_its_model_and_a_larger_one_is_refused(place: Place) -> None:
    place.behave(code=fails("200 OK"))  # the fake takes no chunks apart
    client = place.open()

    fits, too_large = [
        client.post("/v1/chat/completions", content=chunks("code", size)) for size in (1_500_000, 4_000_000)
    ]

    assert fits.headers["X-Backend"] == "code"
    assert too_large.status_code == 413


def chunks(model: str, size: int) -> Iterator[bytes]:
    """Yield a request of `size` bytes and more, the model at its end, in chunks."""
    yield b'{"user": "'
    for _ in range(size // 10_000):
        yield b"x" * 10_000
    yield b'", "model": ' + json.dumps(model).encode() + b', "messages": []}'


@pytest.mark.parametrize("bad", [resets, hangs_up, LOADING], ids=["resets", "hangs-up", "loading"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_auto_asks_another_where_one_answers_nothing(place: Place, bad: Behaviour, stream: bool) -> None:
    place.behave(general=bad)

    responses = [ask(place.open(), stream=stream)] + [ask(place.client, stream=stream) for _ in range(3)]

    assert {response.headers["X-Backend"] for response in responses} <= {"planner", "code"}
    assert {response.status_code for response in responses} == {200}
    assert place.upstreams["general"].connections


def test_a_server_that_loads_for_itself_is_a_503_with_a_time(place: Place) -> None:
    place.behave(code=LOADING)

    response = ask(place.open(), "code")

    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) >= 1
    assert response.json()["error"]["message"] == "Loading model"


def test_a_client_that_leaves_frees_its_slot(place: Place) -> None:
    was_left = threading.Event()

    def thinks_on(connection: Connection) -> None:
        with contextlib.suppress(ConnectionResetError):
            connection.stay_silent()
        if not connection.is_over:
            was_left.set()

    place.behave(code=thinks_on)

    with pytest.raises(httpx.ReadTimeout):
        place.open().post("/v1/chat/completions", json={"model": "code"}, timeout=0.5)

    assert was_left.wait(WITHIN_S)


def test_a_model_may_think_for_longer_than_a_client_may_stay_silent(place: Place) -> None:
    place.behave(code=thinks(3.0))

    assert content(ask(place.open(client="1s"), "code")) == "at last"


def test_a_server_that_never_answers_is_given_up_in_the_end(place: Place) -> None:
    place.behave(code=silent)

    response = ask(place.open(server="1s"), "code")

    assert response.status_code == 504
    assert response.json()["error"]["code"] == "no_answer_in_time"


@pytest.mark.parametrize("phase", [Phase.DRAINING, Phase.STOPPED, Phase.SUSPECT, Phase.BACKOFF], ids=str)
def test_whoever_is_out_gets_nothing_until_it_is_back(place: Place, phase: Phase) -> None:
    client = place.open()

    place.told.say("code", phase)
    out = ask(client, "code")
    place.told.say("code", Phase.UP)
    back = ask(client, "code")

    assert (out.status_code, out.json()["error"]["code"]) == (503, "no_backend_available")
    assert len(place.upstreams["code"].connections) == 1
    assert content(back) == "from code"


@pytest.mark.parametrize("phase", [Phase.UP, Phase.BACKOFF])
def test_what_an_operator_has_drained_gets_nobody_new_and_what_is_under_way_is_answered(
    place: Place, phase: Phase
) -> None:
    client = place.open()
    place.behave(code=thinks(3 * HEARD_S))
    with ThreadPoolExecutor() as beside:
        under_way = beside.submit(ask, client, "code")
        wait_until(lambda: bool(place.upstreams["code"].connections), "the request is at its server")
        place.told.say("code", phase, drain=DRAINED)
        refused = ask(client, "code")
        served = under_way.result()
    place.told.say("code", Phase.UP)
    place.behave(code=answers("from code"))

    assert refused.status_code == 503
    assert (served.status_code, content(served)) == (200, "at last")
    assert content(ask(client, "code")) == "from code"


def test_auto_leaves_out_whoever_is_drained(place: Place) -> None:
    client = place.open()
    place.told.say("general", Phase.DRAINING)

    assert {ask(client).headers["X-Backend"] for _ in range(6)} <= {"planner", "code"}


def test_without_a_supervisor_whoever_was_out_is_asked_again(place: Place) -> None:
    client = place.open()
    place.told.say("code", Phase.BACKOFF)
    place.supervisor.behave = fails("503 Service Unavailable")
    time.sleep(2 * HEARD_S)

    assert content(ask(client, "code")) == "from code"
