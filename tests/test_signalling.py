"""An operator's signal on its way: written down, sent, and what to expect of it; and the log on its way back."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from signal import Signals

import pytest

from supervisor.core.restraint import Hold
from supervisor.core.state import Phase
from supervisor.engines.base import Engine, Log, NewLife
from supervisor.engines.none import NoEngine
from supervisor.errors import EngineRefused, SupervisorError, TargetMissing
from supervisor.guard import Guard
from supervisor.history.store import Store
from supervisor.messages import EngineStirred
from supervisor.printed import Printed
from supervisor.signalling import Signaller
from tests.fakes.story import PLANNER, Story

NAME = PLANNER.name


class Receiver(NoEngine):
    """Takes every signal, or refuses it; prints what a test writes down."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Signals]] = []
        self.refusal: SupervisorError | None = None
        self.pieces: list[bytes | NewLife] = []

    async def signal(self, name: str, number: Signals) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.sent.append((name, number))

    async def follow_log(self, name: str, *, max_bytes: int) -> Log:  # noqa: ARG002
        for piece in self.pieces:
            yield piece


class Post:
    """One target, and whoever sends it signals."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "history.sqlite"
        self.store = Store(self.path)
        self.engine = Receiver()
        self.guard = Guard([NAME])
        self.story = Story(guard=self.guard)
        self.story.comes_up()
        self.keepers = {NAME: self.story.keeper}
        self.signaller = Signaller(self.keepers, self.engine_of, self.store)

    def engine_of(self, name: str) -> tuple[Engine, str] | None:
        return (self.engine, "container-of-planner") if name == NAME else None

    async def verbs(self) -> list[tuple[str, str | None]]:
        return [(each["verb"], each["outcome"]) for each in await self.store.acts(NAME, limit=10)]


@pytest.fixture
async def post(tmp_path: Path) -> AsyncIterator[Post]:
    post = Post(tmp_path)
    yield post
    post.store.close()


async def test_it_is_sent_written_down_and_looked_after(post: Post) -> None:
    outcome = await post.signaller.signal(NAME, Signals.SIGHUP)

    assert (outcome.outcome, outcome.message) == ("done", "SIGHUP sent")
    assert post.engine.sent == [("container-of-planner", Signals.SIGHUP)]
    assert await post.verbs() == [("signal SIGHUP", "done")]
    assert post.story.keeper.inbox.get_nowait() == EngineStirred()


@pytest.mark.parametrize(
    ("number", "held", "words"),
    [
        (Signals.SIGTERM, False, "SIGTERM sent; if it ends, it is started again: stop keeps it down"),
        (Signals.SIGTERM, True, "SIGTERM sent; if it ends, it is held, and is not started again"),
        (
            Signals.SIGSTOP,
            False,
            "SIGSTOP sent; a stopped process answers nobody: it is restarted as hung, unless SIGCONT comes first",
        ),
        (
            Signals.SIGSTOP,
            True,
            "SIGSTOP sent; a stopped process answers nobody: it is held, and stays so, unless SIGCONT comes first",
        ),
        (Signals.SIGCONT, True, "SIGCONT sent"),
    ],
)
async def test_what_is_to_be_expected_of_it_is_said(post: Post, number: Signals, held: bool, words: str) -> None:
    if held:
        post.guard.hold(Hold(target=NAME, since=datetime.now(UTC)))

    assert (await post.signaller.signal(NAME, number)).message == words


async def test_one_that_the_engine_refuses_is_told_in_its_words_and_written_down_as_that(post: Post) -> None:
    post.engine.refusal = EngineRefused("it does not run")

    outcome = await post.signaller.signal(NAME, Signals.SIGHUP)

    assert (outcome.outcome, outcome.message) == ("failed", "it does not run")
    assert await post.verbs() == [("signal SIGHUP", "it does not run")]


async def test_nothing_is_sent_in_the_midst_of_an_act_of_ours(post: Post) -> None:
    state = post.story.keeper.state
    post.story.keeper.state = state.__class__(phase=Phase.RESTARTING, since=0.0)

    outcome = await post.signaller.signal(NAME, Signals.SIGHUP)

    assert (outcome.outcome, post.engine.sent) == ("failed", [])
    assert "restarting already" in outcome.message


async def test_nor_to_one_that_is_watched_no_more(post: Post) -> None:
    assert (await post.signaller.signal("code", Signals.SIGHUP)).outcome == "failed"
    with pytest.raises(TargetMissing, match="watched no more"):
        await anext(Printed(post.engine_of).log("code", max_bytes=10, lines=None))


async def test_a_history_that_cannot_be_written_keeps_no_signal_back(post: Post) -> None:
    post.path.mkdir()

    assert (await post.signaller.signal(NAME, Signals.SIGHUP)).outcome == "done"
    assert post.engine.sent


async def test_one_that_is_watched_only_is_sent_none_and_has_no_log() -> None:
    with pytest.raises(EngineRefused, match="watched only"):
        await NoEngine().signal(NAME, Signals.SIGHUP)
    with pytest.raises(EngineRefused, match="watched only"):
        await anext(Printed(lambda _: (NoEngine(), "")).log(NAME, max_bytes=10, lines=None))


# --- logs -------------------------------------------------------------------------------------------------------------


async def printed(post: Post, *pieces: bytes | NewLife, lines: int | None = None) -> str:
    post.engine.pieces = list(pieces)
    return "".join([text async for text in Printed(post.engine_of).log(NAME, max_bytes=100, lines=lines)])


async def test_a_character_that_comes_in_two_pieces_is_one(post: Post) -> None:
    assert await printed(post, "ü".encode()[:1], "ü".encode()[1:] + b"\xff") == "ü\ufffd"


async def test_a_new_life_is_told_on_a_line_of_its_own(post: Post) -> None:
    told = await printed(post, b"last words", NewLife(), b"up\n", NewLife(), b"up\n")

    marked = "--- planner was started anew ---\n"
    assert told == f"last words\n{marked}up\n{marked}up\n"


@pytest.mark.parametrize(("lines", "told"), [(0, "4\n"), (1, "3\n4\n"), (2, "2\n3\n4\n"), (9, "1\n2\n3\n4\n")])
async def test_of_what_was_printed_so_far_the_last_lines_are_shown_and_all_that_comes(
    post: Post, lines: int, told: str
) -> None:
    assert await printed(post, b"1\n2\n3\n", b"4\n", lines=lines) == told
