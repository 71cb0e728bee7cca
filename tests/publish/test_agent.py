"""The agent checks, asked over a real socket as HAProxy asks them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest
from loguru import logger

from supervisor.core.liveness import Snapshot
from supervisor.core.restraint import Curb, Restraint
from supervisor.core.state import Phase
from supervisor.core.verdict import Judgement, Verdict
from supervisor.errors import StartupError
from supervisor.publish.agent import ASK_WITHIN_S, MOST_CONNECTIONS, REASON_CHARS, AgentServer, listen, say
from supervisor.publish.board import Board
from tests.publish.believing import HUNG, VALID_FOR_S, Time, snapshot

BY_HAND = Judgement(verdict=Verdict.STOPPED, reason="Stopped", message="stopped by the operator")
WITHIN_S = 5.0


@dataclass
class Asked:
    """A server of agent checks, and what it stands on."""

    time: Time
    board: Board
    port: int

    async def ask(self, sent: bytes = b"planner\n") -> bytes:
        """Send what HAProxy sends and return all that comes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(sent)
        try:
            async with asyncio.timeout(WITHIN_S):
                return await reader.read()
        except ConnectionResetError:
            return b""
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def serving(*snapshots: Snapshot) -> AsyncIterator[Asked]:
    """Serve until the end of the block."""
    time = Time()
    board = time.board(*snapshots)
    listener = listen("127.0.0.1", 0)
    task = asyncio.create_task(AgentServer(listener, board, clock=lambda: time.now).run())
    try:
        yield Asked(time, board, listener.getsockname()[1])
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    """What was complained of."""
    told: list[str] = []
    sink = logger.add(told.append, level="WARNING", format="{message}")
    yield told
    logger.remove(sink)


@pytest.mark.parametrize(
    ("phase", "line"),
    [
        pytest.param(Phase.UP, b"ready up 100%\n", id="ready"),
        pytest.param(Phase.BUSY, b"ready up 30%\n", id="busy"),
        pytest.param(Phase.DEGRADED, b"ready up 50%\n", id="slow"),
        pytest.param(Phase.ASLEEP, b"ready up 70%\n", id="asleep"),
        pytest.param(Phase.DRAINING, b"drain 0%\n", id="drained"),
        pytest.param(Phase.STOPPING, b"drain 0%\n", id="being-stopped"),
        pytest.param(Phase.UNKNOWN, b"", id="not-judged-yet"),
    ],
)
async def test_a_target_is_told_in_haproxys_words(phase: Phase, line: bytes) -> None:
    async with serving(snapshot(phase=phase)) as asked:
        assert await asked.ask() == line


@pytest.mark.parametrize(
    "phase", [Phase.SUSPECT, Phase.STARTING, Phase.RESTARTING, Phase.BACKOFF, Phase.FAILED], ids=str
)
async def test_whatever_is_not_routable_is_down_for_a_reason(phase: Phase) -> None:
    async with serving(snapshot(phase=phase, judgement=HUNG)) as asked:
        assert await asked.ask() == b"ready down #hung: no progress, cpu idle\n"


async def test_what_a_person_stopped_is_in_maintenance_until_it_is_started() -> None:
    async with serving(snapshot(phase=Phase.STOPPED, judgement=BY_HAND)) as asked:
        stopped = await asked.ask()
        asked.board.put(snapshot(phase=Phase.UP))

        assert stopped == b"maint down #stopped by the operator\n"
        assert await asked.ask() == b"ready up 100%\n"


@pytest.mark.parametrize(
    ("phase", "line"),
    [
        (Phase.UP, b"drain 0%\n"),
        (Phase.SUSPECT, b"drain 0%\n"),
        (Phase.STARTING, b"drain 0%\n"),
        (Phase.UNKNOWN, b"drain 0%\n"),
        (Phase.BACKOFF, b"drain down #hung: no progress, cpu idle\n"),
        (Phase.STOPPED, b"maint down #no progress, cpu idle\n"),
    ],
)
async def test_what_is_out_of_rotation_gets_nobody_new_until_it_is_put_back(phase: Phase, line: bytes) -> None:
    drain = Restraint(curb=Curb.DRAINED, message="drained by the operator", since=90.0)
    async with serving(snapshot(phase=phase, judgement=HUNG, drain=drain, restraint=drain)) as asked:
        drained = await asked.ask()
        asked.board.put(snapshot(phase=Phase.UP))

        assert (drained, await asked.ask()) == (line, b"ready up 100%\n")


async def test_a_stand_in_that_is_busy_is_used_all_the_same() -> None:
    async with serving(snapshot(phase=Phase.BUSY, stands_in_for="code")) as asked:
        assert await asked.ask() == b"ready up 6%\n"


async def test_every_target_is_told_under_its_own_name() -> None:
    async with serving(snapshot("planner"), snapshot("code", phase=Phase.SUSPECT, judgement=HUNG)) as asked:
        lines = [await asked.ask(f"{name}\r\n".encode()) for name in ("planner", "code")]

    assert [line.split()[1] for line in lines] == [b"up", b"down"]


async def test_a_reason_is_one_short_line_of_plain_text() -> None:
    message = "réponse\n\x1b[31mready up 100%\n" + "x" * 1000
    hung = Judgement(verdict=Verdict.FAILING, reason="BadAnswers", message=message)
    async with serving(snapshot(phase=Phase.BACKOFF, judgement=hung)) as asked:
        line = (await asked.ask()).decode("ascii")

    assert line.startswith("ready down #failing: r?ponse??[31mready up 100%?x")
    assert line.count("\n") == 1
    assert len(line) <= len("ready down #\n") + REASON_CHARS


async def test_while_our_own_loop_is_late_nothing_is_said() -> None:
    async with serving(snapshot()) as asked:
        asked.time.pass_s(VALID_FOR_S + 0.1)

        assert await asked.ask() == b""


async def test_a_name_that_nobody_watches_gets_no_answer_and_one_complaint(warnings: list[str]) -> None:
    async with serving(snapshot()) as asked:
        answers = [await asked.ask(b"plannner\n") for _ in range(3)]

    assert answers == [b"", b"", b""]
    assert warnings == ["agent: asked about 'plannner', which is no target; agent-send must be one of: planner\n"]


async def test_many_strange_names_fill_no_log(warnings: list[str]) -> None:
    async with serving(snapshot()) as asked:
        for number in range(50):
            await asked.ask(f"name-{number}\n".encode())

    assert len(warnings) == 20


@pytest.mark.parametrize(
    "sent",
    [pytest.param(b"p" * 100_000, id="no-end"), pytest.param(b"\xff\n", id="no-name"), pytest.param(b"\n", id="empty")],
)
async def test_what_is_no_name_is_hung_up_on(sent: bytes) -> None:
    async with serving(snapshot()) as asked:
        assert await asked.ask(sent) == b""
        assert await asked.ask() == b"ready up 100%\n"


async def test_who_says_nothing_is_hung_up_on() -> None:
    async with serving(snapshot()) as asked:
        began = asyncio.get_running_loop().time()

        assert await asked.ask(b"planner") == b""
        assert asyncio.get_running_loop().time() - began >= ASK_WITHIN_S / 2


async def test_of_too_many_who_say_nothing_the_first_makes_room_for_one_who_asks() -> None:
    async with serving(snapshot()) as asked:
        silent = [await asyncio.open_connection("127.0.0.1", asked.port) for _ in range(MOST_CONNECTIONS)]
        answer = await asked.ask()
        async with asyncio.timeout(ASK_WITHIN_S / 2):
            with contextlib.suppress(ConnectionError):
                assert await silent[0][0].read() == b""
        for _, writer in silent:
            writer.close()

    assert answer == b"ready up 100%\n"


async def test_one_that_cannot_be_judged_for_long_is_told_as_routers_are_and_not_as_an_earlier_daemon_told() -> None:
    unknown = snapshot(phase=Phase.UNKNOWN)
    assert say(unknown, now=unknown.state.since + 14.9, patience_s=15.0) is None
    assert say(unknown, now=unknown.state.since + 15.0, patience_s=15.0) == "ready up 50%"


def test_a_taken_port_stops_the_start_and_is_named() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]

        with pytest.raises(StartupError, match=rf"agent: cannot listen on 127\.0\.0\.1:{port} .*agent\.port"):
            listen("127.0.0.1", port)
