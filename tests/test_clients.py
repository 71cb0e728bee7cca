"""The demo's clients: what they count as answered, cut, hung and wrong is what became of the request."""

import pytest

from examples.clients import Clients
from examples.relaying import error_event
from tests.fakes.town import wait_until
from tests.fakes.upstream import Behaviour, Connection, Upstream, answers, fails, silent, streams_then


def says_that_it_died(connection: Connection) -> None:
    connection.send_chunk(error_event("general stopped in the middle of its answer").decode())
    connection.send_chunk("")


def fails_for_another_reason(connection: Connection) -> None:
    connection.send_chunk('data: {"error": {"message": "no", "code": "other"}}\n\n')
    connection.send_chunk("")


@pytest.mark.parametrize(
    ("behave", "counted"),
    [
        pytest.param(answers("hello there"), "answered", id="whole"),
        pytest.param(streams_then("hello", says_that_it_died), "cut", id="its-server-died"),
        pytest.param(streams_then("hello", silent), "hung", id="stopped-in-its-midst"),
        pytest.param(silent, "hung", id="never-began"),
        pytest.param(fails("500 Internal Server Error"), "wrong", id="an-error-status"),
        pytest.param(streams_then("hello", fails_for_another_reason), "wrong", id="an-error-in-its-midst"),
    ],
)
def test_a_request_is_counted_as_what_became_of_it(behave: Behaviour, counted: str) -> None:
    # Every other request is streamed; the second one is.
    with Upstream(behave) as router, Clients(router.url, within_s=0.3, begun_within_s=0.6) as clients:
        wait_until(lambda: clients.sent >= 2)
        router.end()

    assert getattr(clients, counted) >= 1
    assert clients.answered == 0 or counted == "answered"
