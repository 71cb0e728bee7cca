"""What BenchAI's router answers once it is guarded, and when: nobody waits for a model that is known to be out."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from testbed.routers.benchai import BenchaiRouter
from tests.fakes.documents import entry
from tests.fakes.town import content, hung, wait_until
from tests.fakes.upstream import Upstream, answers, fails, silent
from tests.routers.benchai_town import BenchaiTown, ask

both_ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
AT_ONCE_S = 2.0
NOTICED_S = 4.0  # two looks at the liveness, and room for a busy machine


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BenchaiTown]:
    with BenchaiTown(tmp_path_factory.mktemp("benchai")) as town:
        yield town


@pytest.fixture(scope="module")
def router(town: BenchaiTown) -> Iterator[BenchaiRouter]:
    with town.router() as router:
        yield router


@pytest.fixture(autouse=True)
def calm(town: BenchaiTown) -> None:
    town.calm()


@pytest.fixture
def beside() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as beside:
        yield beside


def is_asked(town: BenchaiTown, name: str) -> None:
    """Wait until a request is at a server."""
    wait_until(lambda: name in town.asked())


# --- the seed's fault -------------------------------------------------------------------------------------------------


@both_ways
@pytest.mark.parametrize("model", ["auto", "general"])
def test_without_the_guard_a_request_to_a_hung_model_waits(tmp_path: Path, model: str, stream: bool) -> None:
    with BenchaiTown(tmp_path) as town, town.router(guard="none") as router:
        town.behave(general=silent, planner=silent)
        town.say(general=hung(), planner=hung())

        with pytest.raises(httpx.ReadTimeout):
            ask(router, model, stream=stream, within_s=AT_ONCE_S)


# --- a model that was asked for by its name ---------------------------------------------------------------------------


@both_ways
@pytest.mark.parametrize("model", ["general", "planner", "research", "code", "vision"])
def test_a_model_that_is_well_answers(router: BenchaiRouter, model: str, stream: bool) -> None:
    response = ask(router, model, stream=stream)

    assert response.status_code == 200
    assert content(response).startswith("from")


@both_ways
@pytest.mark.parametrize("model", ["general", "research", "vision"])
def test_a_model_that_is_out_is_refused_at_once(
    town: BenchaiTown, router: BenchaiRouter, model: str, stream: bool
) -> None:
    town.behave(general=silent, planner=silent, vision=silent)
    town.say(general=hung(), planner=hung(), vision=hung())
    began = time.monotonic()

    response = ask(router, model, stream=stream)

    assert response.status_code == 503
    assert time.monotonic() - began < AT_ONCE_S
    assert response.headers["Retry-After"] == "12"
    assert response.headers["Access-Control-Allow-Origin"] == "*"  # or a browser would show no reason
    assert "no progress for 14 s" in response.json()["error"]["message"]
    assert town.asked() == {}


@both_ways
def test_a_request_that_waits_for_a_model_is_refused_once_that_is_found_hung(
    town: BenchaiTown, router: BenchaiRouter, beside: ThreadPoolExecutor, stream: bool
) -> None:
    town.behave(general=silent)
    waiting = beside.submit(ask, router, "general", stream=stream)
    is_asked(town, "general")
    town.say(general=hung())

    response = waiting.result(NOTICED_S)

    assert response.status_code == 503
    assert "general is hung" in response.json()["error"]["message"]


def test_whoever_waits_for_a_turn_at_a_hung_model_is_refused_too(
    town: BenchaiTown, router: BenchaiRouter, beside: ThreadPoolExecutor
) -> None:
    town.behave(code=silent)  # which has room for one
    waiting = [beside.submit(ask, router, "code") for _ in range(3)]
    is_asked(town, "code")
    town.say(code=hung())

    assert {each.result(NOTICED_S).status_code for each in waiting} == {503}


def test_a_request_to_a_suspect_is_not_called_off(
    town: BenchaiTown, router: BenchaiRouter, beside: ThreadPoolExecutor
) -> None:
    at_last = threading.Event()

    def takes_long(connection: object) -> None:
        at_last.wait(5.0)
        answers("from general")(connection)  # type: ignore[arg-type]

    town.behave(general=takes_long)
    waiting = beside.submit(ask, router, "general")
    is_asked(town, "general")
    town.say(general={**hung(), "verdict": "suspect"})
    time.sleep(1.0)  # four looks
    at_last.set()

    assert content(waiting.result(NOTICED_S)) == "from general"


def test_a_stand_in_at_another_address_is_asked_for_a_model_that_is_out(
    town: BenchaiTown, router: BenchaiRouter
) -> None:
    with Upstream(answers("from the stand-in")) as stand_in:
        town.say(entry("planner-cpu", url=stand_in.url, models=("planner",)), planner=hung())

        response = ask(router, "planner")

    assert content(response) == "from the stand-in"
    assert town.asked() == {}


def test_a_stand_in_is_asked_where_the_first_has_failed(town: BenchaiTown, router: BenchaiRouter) -> None:
    town.behave(planner=fails("500 Internal Server Error"))
    with Upstream(answers("from the stand-in")) as stand_in:
        town.say(entry("planner-cpu", url=stand_in.url, models=("planner",), weight=0.5))

        response = ask(router, "planner")

    assert content(response) == "from the stand-in"


# --- auto -------------------------------------------------------------------------------------------------------------


@both_ways
def test_auto_asks_nobody_who_is_out(town: BenchaiTown, router: BenchaiRouter, stream: bool) -> None:
    town.behave(planner=silent)
    town.say(planner=hung())

    response = ask(router, "auto", stream=stream)

    assert content(response).startswith("from")
    assert "planner" not in town.asked()


def test_auto_keeps_the_routers_own_choice_among_equals(router: BenchaiRouter) -> None:
    assert content(ask(router, "auto", text="write code")) == "from code"


def test_auto_prefers_the_higher_weight(town: BenchaiTown, router: BenchaiRouter) -> None:
    town.say(code={"weight": 0.3, "verdict": "busy"}, planner={"weight": 0.3, "verdict": "busy"})

    assert content(ask(router, "auto", text="write more code")) == "from general"


def test_auto_never_asks_the_model_with_eyes_in_anothers_place(town: BenchaiTown, router: BenchaiRouter) -> None:
    town.say(general=hung(), planner=hung(), code=hung())

    response = ask(router, "auto")

    assert response.status_code == 503
    assert town.asked() == {}


@both_ways
def test_auto_asks_another_once_the_one_it_waits_for_is_found_hung(
    town: BenchaiTown, router: BenchaiRouter, beside: ThreadPoolExecutor, stream: bool
) -> None:
    town.behave(code=silent)
    waiting = beside.submit(ask, router, "auto", stream=stream, text=f"write code {stream}")
    is_asked(town, "code")
    town.say(code=hung())

    assert content(waiting.result(NOTICED_S)).startswith("from")


@both_ways
def test_auto_asks_another_where_one_fails(town: BenchaiTown, router: BenchaiRouter, stream: bool) -> None:
    town.behave(code=fails("500 Internal Server Error"))

    response = ask(router, "auto", stream=stream, text=f"write code again {stream}")

    assert content(response).startswith("from")
    assert town.asked()["code"] == 1


def test_auto_says_so_where_all_have_failed(town: BenchaiTown, router: BenchaiRouter) -> None:
    failing = fails("500 Internal Server Error")
    town.behave(general=failing, planner=failing, code=failing)

    response = ask(router, "auto")

    assert response.status_code == 503
    assert "answered 500" in response.json()["error"]["message"]


def test_auto_leaves_a_model_alone_that_the_supervisor_does_not_know(town: BenchaiTown) -> None:
    with Upstream(answers("from math")) as math:
        ports = {name: int(upstream.url.rpartition(":")[2]) for name, upstream in town.upstreams.items()}
        ports["math"] = int(math.url.rpartition(":")[2])
        with town.router(BENCHAI_PORTS=json.dumps(ports)) as router:
            assert content(ask(router, "auto", text="calculate")) == "from math"
            assert content(ask(router, "math")) == "from math"


# --- nothing is known -------------------------------------------------------------------------------------------------


@both_ways
def test_with_an_expired_document_nobody_is_refused(town: BenchaiTown, router: BenchaiRouter, stream: bool) -> None:
    town.say(general=hung(), valid_for_s=-1.0)

    assert content(ask(router, "general", stream=stream)) == "from general"


def test_without_a_document_auto_is_what_it_was(town: BenchaiTown, router: BenchaiRouter) -> None:
    town.file.unlink()

    assert content(ask(router, "auto", text="more code")) == "from code"


def test_a_request_that_is_no_json_is_the_routers_to_refuse(router: BenchaiRouter) -> None:
    response = httpx.post(f"{router.url}/v1/chat/completions", content=b"{", timeout=AT_ONCE_S, trust_env=False)

    assert response.status_code == 422
