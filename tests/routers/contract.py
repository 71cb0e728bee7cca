"""What every router of `testbed/routers` must do, whatever it is made of: one suite, run over each for real.

A file beside this one makes a class of it, with the router's class as `router`.
"""

import json
import time
from contextlib import ExitStack
from typing import Any, ClassVar

import httpx
import openai
import pytest

from testbed.clients import busy, wait_until
from testbed.routers.asking import DEADLINE_S, Reply, Storm, ask
from testbed.routers.base import Router
from testbed.routers.world import ALIASES, BACKENDS, QUICK, SLOW, TOKENS_PER_S, VALID_FOR_S, World

REFUSES_WITHIN_S = 2.0  # a bound that no busy machine breaks, and no waiting router keeps
MEGABYTE = 1_000_000
BUSY_TOKENS = 3_000  # some seconds: whoever is sent there meanwhile waits for its end, and is answered then
ANSWERED_OR_REFUSED = {200, 502, 503, 504}

both_ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


class RouterContract:
    """The rules. Those of one router alone stand in its own file."""

    router: ClassVar[type[Router]]
    pytestmark: ClassVar = [pytest.mark.slow]

    # --- while all is well --------------------------------------------------------------------------------------------

    @both_ways
    @pytest.mark.parametrize(("alias", "backend"), ALIASES.items())
    def test_a_request_is_answered_by_a_backend_of_its_alias(
        self, world: World, alias: str, backend: str, stream: bool
    ) -> None:
        reply = ask(world, alias, stream=stream)

        assert_answered(reply, stream=stream)
        assert reply.sent_to == {backend}

    @both_ways
    def test_auto_is_answered_by_one_of_them(self, world: World, stream: bool) -> None:
        reply = ask(world, "auto", stream=stream)

        assert_answered(reply, stream=stream)
        assert len(reply.sent_to) == 1

    def test_clients_are_told_of_every_alias(self, world: World) -> None:
        url = f"{world.router.url}/v1/models"
        told = httpx.get(url, headers=world.router.client_headers, timeout=DEADLINE_S, trust_env=False).json()

        assert {*ALIASES, "auto"} <= {entry["id"] for entry in told["data"]}

    @both_ways
    def test_a_body_of_a_megabyte_passes(self, world: World, stream: bool) -> None:
        reply = ask(world, "general", stream=stream, user="x" * MEGABYTE)

        assert_answered(reply, stream=stream)

    def test_a_stream_comes_piece_by_piece(self, world: World) -> None:
        reply = ask(world, SLOW, stream=True, max_tokens=TOKENS_PER_S)

        gaps_s = [later - sooner for sooner, later in zip(reply.came_at_s, reply.came_at_s[1:], strict=False)]
        apart = [gap_s for gap_s in gaps_s if gap_s > 0.2 / TOKENS_PER_S]
        assert_answered(reply, stream=True)
        assert len(apart) >= TOKENS_PER_S / 2  # of bursts there would be a few

    @both_ways
    def test_the_openai_sdk_is_answered(self, world: World, stream: bool) -> None:
        headers = dict(world.router.client_headers)
        sdk = openai.OpenAI(
            base_url=f"{world.router.url}/v1",
            api_key="none",
            default_headers=headers,
            max_retries=0,
            timeout=DEADLINE_S,
        )
        with sdk:
            text = sdk_stream(sdk) if stream else sdk_whole(sdk)

        assert text

    # --- while something is wrong -------------------------------------------------------------------------------------

    def test_while_one_hangs_and_is_restarted_no_request_hangs(self, world: World) -> None:
        assert_none_hangs_while(world, "general", alias="auto")

    @both_ways
    def test_once_it_is_told_nobody_is_sent_to_a_hung_backend(self, world: World, stream: bool) -> None:
        with world.frozen("general"):
            world.wait_told("general", routable=False)
            replies = [ask(world, "auto", stream=stream) for _ in range(9)]

        for reply in replies:
            assert_answered(reply, stream=stream)
            assert "general" not in reply.sent_to

    @both_ways
    def test_where_nobody_else_has_the_alias_a_hung_backend_means_a_refusal(self, world: World, stream: bool) -> None:
        with world.frozen("planner"):
            world.wait_told("planner", routable=False)
            reply = ask(world, "research", stream=stream)

        assert_refused(reply, world)

    @both_ways
    def test_where_one_was_killed_another_answers_at_once(self, world: World, stream: bool) -> None:
        with world.killed("general"):
            replies = [ask(world, "auto", stream=stream) for _ in range(6)]

        for reply in replies:
            assert_answered(reply, stream=stream)

    def test_a_busy_backend_is_preferred_less(self, world: World) -> None:
        replies: list[Reply] = []
        with busy(world.taps["general"].url, tokens=2 * BUSY_TOKENS) as client:
            client.wait_first_token()
            world.wait_told("general", verdict="busy", routable=True)
            while len(replies) < 5 and not client.ended:  # then it is as good as any other
                replies.append(ask(world, "auto"))

        counts = {name: sum(name in reply.sent_to for reply in replies) for name in QUICK}
        assert counts["general"] < max(counts.values())

    def test_a_busy_backend_is_used_where_nobody_else_has_the_alias(self, world: World) -> None:
        """A starved machine may call it suspect between being told and being asked: a router that refuses the busy
        refuses every time."""
        with busy(world.taps["general"].url, tokens=BUSY_TOKENS) as client:
            client.wait_first_token()
            for _ in range(3):
                world.wait_told("general", verdict="busy", routable=True)
                reply = ask(world, "general", stream=True)
                if reply.status == httpx.codes.OK:
                    break

        assert_answered(reply, stream=True)

    @both_ways
    def test_a_backend_that_is_loading_is_not_asked(self, world: World, stream: bool) -> None:
        with world.starting(SLOW):
            world.wait_told(SLOW, routable=False, verdict="warming")
            reply = ask(world, SLOW, stream=stream)

        assert_refused(reply, world)

    def test_with_all_of_them_out_it_refuses_at_once_with_a_reason_and_a_time(self, world: World) -> None:
        with world.stopped(SLOW), world.frozen(*QUICK):
            world.wait_told(*BACKENDS, routable=False)
            reply = ask(world, "auto", stream=True)

        assert_refused(reply, world)

    # --- without the daemon -------------------------------------------------------------------------------------------

    def test_with_the_daemon_dead_it_goes_on_as_it_was(self, world: World) -> None:
        with world.frozen("general"):
            world.wait_told("general", routable=False)
            with world.daemon_killed():
                replies = [ask(world, "auto", stream=True) for _ in range(6)]

        for reply in replies:
            assert_answered(reply, stream=True)
            assert "general" not in reply.sent_to

    def test_an_expired_document_keeps_nobody_from_an_answer(self, world: World) -> None:
        with world.held("general"), ExitStack() as pause:
            with world.frozen("general", held=False):
                world.wait_told("general", routable=False)
                pause.enter_context(world.daemon_paused())
            time.sleep(VALID_FOR_S + world.router.hears_within_s)
            reply = ask(world, "general", stream=True)

        assert_answered(reply, stream=True)

    # --- what is under way --------------------------------------------------------------------------------------------

    def test_what_is_under_way_is_not_cut_when_its_backend_is_taken_out(self, world: World) -> None:
        with busy(world.router.url, model="planner", headers=world.router.client_headers) as client:
            client.wait_first_token()
            with world.stopped("planner", wait_s=0.0):
                world.wait_told("planner", routable=False)
                before = client.received
                wait_until(lambda: client.received > before + 10 or client.problem is not None, "the stream goes on")
                client.hang_up()

        assert client.problem is None


def assert_none_hangs_while(world: World, name: str, *, alias: str) -> None:
    """While a backend hangs and is restarted, clients who ask for `alias` all the while are answered or refused."""
    storm = Storm(world, alias)
    with storm.blowing():
        before = world.daemon.backend(name)["instance"]
        with world.frozen(name, held=False):
            wait_until(lambda: _is_new(world, name, since=before), "it was restarted")

    assert storm.lost == []
    assert {reply.status for reply in storm.replies} <= ANSWERED_OR_REFUSED
    assert all(reply.took_s < DEADLINE_S for reply in storm.replies)


def assert_answered(reply: Reply, *, stream: bool) -> None:
    """An answer of the model's, whole; a stream to its very end."""
    assert reply.status == 200, reply.body
    assert reply.text.strip()
    assert reply.is_done is stream


def assert_refused(reply: Reply, world: World) -> None:
    """A refusal as OpenAI's clients understand it, quick, with a reason and when to come back; nobody was asked."""
    assert reply.status == world.router.refuses_with, reply.body
    assert int(reply.headers["Retry-After"]) >= 1
    assert json.loads(reply.body)["error"]["message"]
    assert reply.took_s < REFUSES_WITHIN_S
    assert reply.sent_to == frozenset()


def sdk_whole(sdk: openai.OpenAI) -> str:
    """Return an answer in one piece."""
    answer = sdk.chat.completions.create(model="auto", messages=MESSAGES, max_tokens=8)
    return answer.choices[0].message.content or ""


def sdk_stream(sdk: openai.OpenAI) -> str:
    """Return an answer that was streamed."""
    with sdk.chat.completions.create(model="auto", messages=MESSAGES, max_tokens=8, stream=True) as answer:
        return "".join(chunk.choices[0].delta.content or "" for chunk in answer if chunk.choices)


MESSAGES: Any = [{"role": "user", "content": "say hi"}]


def _is_new(world: World, name: str, *, since: str) -> bool:
    entry = world.daemon.backend(name)
    return bool(entry["routable"]) and entry["instance"] != since
