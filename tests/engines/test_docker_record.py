"""Nobody who stops a container waits for what is asked for the record, however long the engine takes over it."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from supervisor.engines.docker import DockerEngine
from supervisor.errors import EngineRefused, EngineUnreachable
from tests.engines.bench import become
from tests.engines.fake_docker import FakeDocker

TIMEOUT_S = 0.6
AT_ONCE_S = 0.3

ASKS: dict[str, Callable[[DockerEngine], Awaitable[object]]] = {
    "describe": lambda engine: engine.describe("general"),
    "log": lambda engine: engine.log_tail("general", max_bytes=1000),
    "circumstances": lambda engine: engine.circumstances("general"),
}


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeDocker]:
    with FakeDocker(tmp_path) as fake:
        yield fake


@pytest.fixture
async def engine(fake: FakeDocker) -> AsyncIterator[DockerEngine]:
    """One thread for all that is done: not even that one is taken by what is asked for the record."""
    engine = DockerEngine(host=fake.host, timeout_s=TIMEOUT_S, workers=1)
    yield engine
    await engine.close()


async def asked(fake: FakeDocker, end: str) -> None:
    async def has_come() -> bool:
        return end in fake.asked

    await become(f"{end} was asked", has_come)


async def took_s(doing: Awaitable[object]) -> float:
    began = time.monotonic()
    await doing
    return time.monotonic() - began


@pytest.mark.parametrize(
    ("ask", "end"), [("describe", "/top"), ("log", "/logs"), ("circumstances", "/networks")], ids=lambda each: each
)
async def test_a_restart_goes_through_at_once_while_a_question_for_the_record_hangs(
    fake: FakeDocker, engine: DockerEngine, ask: str, end: str
) -> None:
    fake.hangs = {end}
    asking = asyncio.ensure_future(ASKS[ask](engine))
    await asked(fake, end)

    waited_s = await took_s(engine.restart("general", grace_s=0))

    assert waited_s < AT_ONCE_S
    assert fake.asked[-1] == "/restart"
    await asyncio.gather(asking, return_exceptions=True)


async def test_a_restart_goes_through_at_once_while_a_log_trickles_for_ever(
    fake: FakeDocker, engine: DockerEngine
) -> None:
    fake.trickles = {"/logs"}
    with pytest.raises(EngineUnreachable, match="read the log of general"):
        await engine.log_tail("general", max_bytes=1000)

    waited_s = await took_s(engine.restart("general", grace_s=0))

    assert waited_s < AT_ONCE_S
    with pytest.raises(EngineUnreachable, match=r"read the log of general.*still owes the answer to an earlier call"):
        await engine.log_tail("general", max_bytes=1000)


async def test_a_question_that_hangs_holds_up_no_other_question_about_the_same_container(
    fake: FakeDocker,
) -> None:
    engine = DockerEngine(host=fake.host, timeout_s=TIMEOUT_S, workers=3)
    fake.hangs = {"/top"}
    describing = asyncio.ensure_future(engine.describe("general"))
    await asked(fake, "/top")

    waited_s = await took_s(asyncio.gather(engine.inspect("general"), engine.log_tail("general", max_bytes=10)))

    assert waited_s < AT_ONCE_S
    await asyncio.gather(describing, return_exceptions=True)
    await engine.close()


async def test_a_refusal_that_quotes_a_command_line_tells_no_secret(fake: FakeDocker, engine: DockerEngine) -> None:
    fake.refusal = 'exec: "llama-server --api-key hush --port 80": executable file not found in $PATH'

    with pytest.raises(EngineRefused, match="executable file not found") as raised:
        await engine.restart("general", grace_s=0)

    assert "hush" not in str(raised.value)
