"""The set of targets, as it changes: who is touched, what is carried over, and that nothing is left behind."""

import asyncio
import contextlib
import gc
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from supervisor.core.baseline import Baseline
from supervisor.core.events import Verb
from supervisor.core.restraint import EVERY, Hold
from supervisor.core.state import Phase, Transition
from supervisor.core.verdict import Judgement, Verdict
from supervisor.messages import Wish
from tests.fakes.yard import Yard, yard
from tests.test_guard import WALL

RELOADS = 1000


@pytest.fixture
async def ours(tmp_path: Path) -> AsyncIterator[Yard]:
    async with yard(tmp_path) as ours:
        yield ours


def backend(name: str, port: int, *more: str, policy: str = "") -> str:
    keys = "".join(f"{each}\n" for each in more)
    return (
        f'[[backends]]\nname = "{name}"\nurl = "http://127.0.0.1:{port}"\nengine = "none"\n'
        f'models = ["{name}"]\n{keys}' + (f"[backends.policy]\n{policy}\n" if policy else "")
    )


GENERAL, CODE = backend("general", 1), backend("code", 2)
ROUTER = '[[routers]]\nname = "router"\nurl = "http://127.0.0.1:4"\n'


async def test_what_has_not_changed_keeps_its_keeper_and_everything_it_knows(ours: Yard) -> None:
    await ours.settle(GENERAL + CODE)
    keeper, runner = ours.fleet.keepers["general"], ours.fleet.runners[0]
    evidence, inbox = keeper.evidence, keeper.inbox

    changes = await ours.settle(GENERAL + backend("math", 3))

    assert (changes.added, changes.removed, changes.settled, changes.renewed) == (["math"], ["code"], [], [])
    assert ours.fleet.keepers["general"] is keeper
    assert (keeper.inbox, ours.fleet.runners[0]) == (inbox, runner)
    assert keeper.evidence.seen_at == evidence.seen_at
    assert list(ours.fleet.keepers) == ["general", "math"] == [each.name for each in ours.board.snapshots]


async def test_another_patience_alone_leaves_all_that_was_seen(ours: Yard) -> None:
    await ours.settle(GENERAL)
    keeper = ours.fleet.keepers["general"]
    before = keeper.evidence

    changes = await ours.settle("[policy]\ntick_s = 1.0\n" + backend("general", 1, policy="hung_after_s = 30.0"))
    await _until(ours, lambda: keeper.snapshot().policy.hung_after_s == 30.0)

    assert changes.settled == ["general"]
    assert ours.fleet.keepers["general"] is keeper
    assert keeper.snapshot().policy.tick_s == 1.0
    assert (keeper.evidence.seen_at, keeper.evidence.instance) == (before.seen_at, before.instance)


async def test_a_question_that_is_out_stays_out_whatever_else_is_asked_from_now_on(ours: Yard) -> None:
    """Dropped and sent again, it would take the server's time twice."""
    questions: list[bytes] = []
    ends: list[bytes] = []

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        questions.append(await reader.readuntil(b"\r\n"))
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(4096):
                del piece
        ends.append(questions[-1])
        writer.close()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await ours.settle(backend("general", port, 'progress = "none"', policy="tick_s = 1.0\nstarting_tick_s = 0.1"))
    keeper = ours.fleet.keepers["general"]
    await _until(ours, lambda: keeper.evidence.canary_since is not None and bool(questions))
    since, attempt = keeper.evidence.canary_since, keeper.evidence.canary_attempt

    changed = backend("general", port, 'progress = "none"', "canary_max_tokens = 2", policy="tick_s = 1.0")
    changes = await ours.settle(changed.replace('["general"]', '["general", "auto"]'))
    await _until(ours, lambda: keeper.snapshot().models == ("general", "auto"))
    await _until(ours, lambda: ours.board.snapshots[0].as_of > (since or 0.0) + 1.5)

    assert changes.settled == ["general"]
    assert (keeper.evidence.canary_since, keeper.evidence.canary_attempt) == (since, attempt)
    assert ([each.split()[0] for each in questions], ends) == ([b"POST"], [])
    server.close()


async def test_another_address_brings_another_keeper_and_what_is_true_of_the_target_stays(ours: Yard) -> None:
    await ours.settle(GENERAL)
    old = ours.fleet.keepers["general"]
    old.baseline = Baseline(first_tokens_s=(0.4,))
    failed = Judgement(verdict=Verdict.DEGRADED, reason="Slow", message="slow")
    old.state = type(old.state)(phase=Phase.DEGRADED, since=1.0, judgement=failed, restarts=(2.0, 3.0), in_a_row=2)

    changes = await ours.settle(backend("general", 9))

    new = ours.fleet.keepers["general"]
    assert changes.renewed == ["general"]
    assert new is not old
    assert new.baseline.first_tokens_s == (0.4,)
    assert (new.state.phase, new.state.restarts, new.state.since) == (Phase.DEGRADED, (2.0, 3.0), 1.0)
    assert new.evidence.seen_at > old.evidence.seen_at
    assert ours.board.backends()[0]["url"] == "http://127.0.0.1:9"


async def test_aliases_that_come_and_go_are_asked_of_a_router_that_has_not_changed_itself(ours: Yard) -> None:
    await ours.settle(GENERAL + ROUTER)
    keeper = ours.fleet.keepers["router"]

    changes = await ours.settle(GENERAL + CODE + ROUTER)

    plan = ours.fleet.plan_of("router")
    assert (changes.added, changes.settled) == (["code"], ["router"])
    assert ours.fleet.keepers["router"] is keeper
    assert plan is not None
    assert list(plan.ways) == ["general", "code"]


async def test_what_is_being_done_to_a_target_ends_before_it_is_let_go_and_holds_up_nobody_else(ours: Yard) -> None:
    await ours.settle(GENERAL + CODE)
    keeper = ours.fleet.keepers["code"]
    keeper.state = type(keeper.state)(phase=Phase.RESTARTING, since=1.0)
    settling = asyncio.ensure_future(ours.settle(GENERAL + backend("math", 3)))
    await _until(ours, lambda: "math" in ours.fleet.keepers)
    await asyncio.sleep(0.05)
    still = "code" in ours.fleet.keepers and not settling.done()

    keeper.state = type(keeper.state)(phase=Phase.STARTING, since=2.0)
    ours.board.put(keeper.snapshot())

    await settling
    assert still
    assert ours.fleet.names == ("general", "math")


async def test_whoever_waits_for_an_operators_wish_is_told_that_its_target_is_gone(ours: Yard) -> None:
    await ours.settle(GENERAL + CODE)
    answers: list[bool] = []
    ours.fleet._members["code"].task.cancel()  # it takes no more turns
    ours.fleet.keepers["code"].post(Wish(Verb.STOP, answers.append))

    await ours.settle(GENERAL)
    outcome = await ours.fleet.operator.operate("code", Verb.STOP, 1.0, False)

    assert answers == [False]
    assert (outcome.outcome, outcome.message) == (
        "failed",
        "code is watched no more: it has been taken out of the settings",
    )


async def test_one_that_comes_back_begins_where_it_was_left_as_after_a_restart_of_ours(ours: Yard) -> None:
    stopped = Judgement(verdict=Verdict.STOPPED, reason="Stopped", message="stopped by the operator")
    await ours.settle(GENERAL + CODE)
    change = Transition(before=Phase.UP, after=Phase.STOPPED, at=1.0, judgement=stopped)
    await ours.store.record("code", change, instance=None, incident=None)
    ours.fleet.keepers["code"].baseline = Baseline(first_tokens_s=(0.4,))
    ours.guard.hold(Hold(target="code", since=WALL))
    await ours.settle(GENERAL)

    await ours.settle(GENERAL + CODE)

    keeper = ours.fleet.keepers["code"]
    assert keeper.state.phase is Phase.STOPPED
    assert keeper.baseline.first_tokens_s == (0.4,)
    assert [each.target for each in ours.guard.holds] == ["code"]
    assert ours.guard.by_a_person(EVERY, now=0.0) is None


async def test_what_was_fatal_is_tried_again_where_it_is_looked_at_in_another_way_too(ours: Yard) -> None:
    def text(port: int, command: str) -> str:
        policy = "[policy]\nbackoff_first_s = 0.1\nbackoff_max_s = 0.2\n"
        run = backend("general", port).replace('"none"', f'"process"\ncommand = ["{command}", "60"]')
        return f'[daemon]\nstate_dir = "{ours.file.parent}"\n[process]\nstop_on_exit = true\n{policy}{run}'

    await ours.settle(text(1, "/no/such"))
    await _until(ours, lambda: ours.fleet.keepers["general"].state.phase is Phase.FAILED)

    changes = await ours.settle(text(9, "sleep"))
    await _until(ours, lambda: ours.fleet.keepers["general"].state.phase is Phase.STARTING)

    assert changes.renewed == ["general"]


async def test_a_backend_that_becomes_a_router_is_one_in_every_respect(ours: Yard) -> None:
    await ours.settle(GENERAL + CODE)
    await _until(ours, lambda: set(ours.directly.directs) == {"general", "code"})

    await ours.settle(GENERAL + '[[routers]]\nname = "code"\nurl = "http://127.0.0.1:2"\n')
    await _until(ours, lambda: set(ours.directly.directs) == {"general"})
    relays = ours.fleet.keepers["code"].evidence.relays
    await ours.settle(GENERAL + CODE)

    assert relays
    assert not ours.fleet.keepers["code"].evidence.relays


async def test_whoever_joins_while_all_are_stopped_takes_no_turn(ours: Yard) -> None:
    settling = asyncio.ensure_future(ours.settle(GENERAL))
    await asyncio.sleep(0)  # it reads what was known
    early = ours.fleet.names

    ours.fleet.stop()
    await settling
    await asyncio.sleep(0)

    assert (early, ours.fleet.names) == ((), ("general",))
    assert ours.fleet._members["general"].task.cancelled()


async def test_a_thousand_reloads_leave_nothing_behind(ours: Yard) -> None:
    texts = (GENERAL + CODE + ROUTER, backend("general", 9) + backend("math", 3), GENERAL + backend("math", 3))
    for text in texts:
        await ours.settle(text)
    before = await _there(ours)

    for number in range(RELOADS):
        await ours.settle(texts[number % len(texts)])
    await ours.settle(texts[-1])

    assert await _there(ours) <= before  # what other tests have left may end meanwhile


async def _there(ours: Yard) -> Counter[str]:
    """Return how many there are of whatever a target takes."""
    await asyncio.sleep(0.1)
    gc.collect()
    clients = [each for each in gc.get_objects() if type(each) is httpx.AsyncClient and not each.is_closed]
    jobs = ours.schedule._scheduler.get_jobs()
    errands = ("look", "canary", "inspect", "record", "incident", "remember")  # come and go by themselves
    tasks = [each for each in asyncio.all_tasks() if not any(errand in each.get_name() for errand in errands)]
    threads = threading.active_count()
    return Counter(names=len(ours.fleet.names), tasks=len(tasks), clients=len(clients), threads=threads, jobs=len(jobs))


async def _until(ours: Yard, holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10.0):
        while not holds():
            await ours.board.change()
