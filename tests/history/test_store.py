"""What must survive our own death, in a real SQLite file on disk."""

import asyncio
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from supervisor.core.actions import Act
from supervisor.core.events import Verb
from supervisor.core.state import Phase, Transition
from supervisor.core.verdict import Judgement, Verdict
from supervisor.history.changes import KEPT, PRUNED_EVERY
from supervisor.history.store import TIMEOUT_S, Memory, Store
from tests.history.kept import edit, opened, query

WINDOW_S = 1800.0
NEWEST = 5  # the number of the last migration


def change(after: Phase = Phase.STOPPED, *, message: str = "stopped by the operator") -> Transition:
    judgement = Judgement(verdict=Verdict.STOPPED, reason="Stopped", message=message)
    return Transition(before=Phase.UP, after=after, at=1.0, judgement=judgement)


def act(verb: Verb = Verb.RESTART, *, by_operator: bool = False) -> Act:
    return Act(verb=verb, grace_s=2.0, by_operator=by_operator)


async def test_of_a_target_never_seen_nothing_is_remembered(tmp_path: Path) -> None:
    async with opened(tmp_path / "history.sqlite") as store:
        assert await store.remember("general", window_s=WINDOW_S) == Memory()


async def test_the_next_daemon_remembers_where_the_last_one_left_each_target(tmp_path: Path) -> None:
    async with opened(tmp_path / "history.sqlite") as store:
        await store.record("general", change(Phase.BACKOFF), instance="4f1e")
        await store.record("general", change(Phase.STOPPED), instance="4f1e")
        await store.record("planner", change(Phase.UP), instance=None)

    async with opened(tmp_path / "history.sqlite") as store:
        general = await store.remember("general", window_s=WINDOW_S)
        planner = await store.remember("planner", window_s=WINDOW_S)

    assert (general.phase, planner.phase) == (Phase.STOPPED, Phase.UP)


async def test_a_phase_that_this_version_does_not_know_is_not_remembered(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    async with opened(path) as store:
        await store.record("general", change(), instance=None)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE transitions SET after = 'dreaming'")

    async with opened(path) as store:
        assert (await store.remember("general", window_s=WINDOW_S)).phase is None


async def test_a_restart_that_never_ended_was_cut_short_until_a_later_one_ends(tmp_path: Path) -> None:
    async with opened(tmp_path / "history.sqlite") as store:
        await store.record("general", change(Phase.RESTARTING), instance=None)
        await store.begin("general", act())
        await store.record("planner", change(Phase.STOPPING), instance=None)
        await store.begin("planner", act(Verb.STOP, by_operator=True))

    async with opened(tmp_path / "history.sqlite") as store:
        after_death = await store.remember("general", window_s=WINDOW_S)
        stopping = await store.remember("planner", window_s=WINDOW_S)
        number = await store.begin("general", act())
        await store.end(number, "done")
        after_ending = await store.remember("general", window_s=WINDOW_S)

    assert after_death.is_cut_short
    assert not stopping.is_cut_short
    assert not after_ending.is_cut_short


async def test_our_own_restarts_count_for_as_long_as_the_budget_looks_back(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    async with opened(path) as store:
        for each in (act(), act(), act(Verb.STOP, by_operator=True), act()):
            await store.end(await store.begin("general", each), "done")
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("UPDATE acts SET began_at = '2020-01-01T00:00:00+00:00' WHERE id = 1")
        memory = await store.remember("general", window_s=WINDOW_S)

    assert len(memory.restart_ages_s) == 2
    assert all(0 <= age_s < 60 for age_s in memory.restart_ages_s)
    assert memory.restart_ages_s[0] >= memory.restart_ages_s[1]


async def test_a_restart_that_was_left_undone_after_all_spends_no_budget(tmp_path: Path) -> None:
    async with opened(tmp_path / "history.sqlite") as store:
        await store.end(await store.begin("general", act()), "left alone: somebody else has restarted it", counts=False)
        memory = await store.remember("general", window_s=WINDOW_S)

    assert memory.restart_ages_s == ()


@pytest.mark.parametrize("began_at", ["yesterday, or so", "9999-12-31T23:59:59-14:00", "2999-01-01T00:00:00"])
async def test_a_restart_whose_time_cannot_be_read_spends_no_budget(tmp_path: Path, began_at: str) -> None:
    path = tmp_path / "history.sqlite"
    async with opened(path) as store:
        for _ in range(2):
            await store.end(await store.begin("general", act()), "done")
        edit(path, "UPDATE acts SET began_at = ? WHERE id = 1", began_at)
        memory = await store.remember("general", window_s=WINDOW_S)

    assert len(memory.restart_ages_s) == 1


async def test_what_was_begun_is_on_disk_before_begin_returns(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    async with opened(path) as store:
        number = await store.begin("general", act())
        seen_by_others = query(path, "SELECT id, target, verb, by_operator, ended_at, outcome FROM acts")
        await store.end(number, "failed: port taken")
        ended = query(path, "SELECT ended_at IS NOT NULL, outcome FROM acts")

    assert seen_by_others == [(number, "general", "restart", 0, None, None)]
    assert ended == [(1, "failed: port taken")]


async def test_a_change_is_written_with_its_reasons(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    async with opened(path) as store:
        await store.record("general", change(message="half a \ud83d character; it's"), instance="4f1e@12")

    row = query(path, "SELECT target, before, after, verdict, reason, message, instance FROM transitions")
    assert row == [("general", "up", "stopped", "stopped", "Stopped", "half a ? character; it's", "4f1e@12")]


async def test_the_tables_take_no_values_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    async with opened(path) as store:
        await store.begin("general", act())

    tables = query(
        path, "SELECT name, strict FROM pragma_table_list WHERE schema = 'main' AND name NOT LIKE 'sqlite_%'"
    )
    names = ("acts", "baselines", "drains", "holds", "incidents", "transitions")
    assert sorted(tables) == [(name, 1) for name in names]
    assert query(path, "PRAGMA journal_mode") == [("wal",)]
    assert query(path, "PRAGMA user_version") == [(NEWEST,)]


async def test_the_history_stays_bounded_and_never_forgets_an_operators_stop(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    async with opened(path) as store:
        await store.record("stopped long ago", change(Phase.STOPPED), instance=None)
        await store.record("cut short long ago", change(Phase.RESTARTING), instance=None)
        await store.begin("cut short long ago", act())
        _fill(path, rows=KEPT + 3 * PRUNED_EVERY)
        for _ in range(PRUNED_EVERY):
            await store.record("flapping", change(Phase.UP), instance=None)
            await store.begin("flapping", act())
        stopped = await store.remember("stopped long ago", window_s=WINDOW_S)
        cut_short = await store.remember("cut short long ago", window_s=WINDOW_S)

    for table in ("transitions", "acts"):
        ((count,),) = query(path, f"SELECT count(*) FROM {table}")  # noqa: S608
        assert KEPT <= count <= KEPT + PRUNED_EVERY + 1
    assert stopped.phase is Phase.STOPPED
    assert cut_short.is_cut_short


def _fill(path: Path, *, rows: int) -> None:
    """Write what months of a flapping target would."""
    transition = ("2026-01-01", "flapping", "up", "busy", "busy", "SlotsMoving", "every slot at work", None)
    with closing(sqlite3.connect(path)) as database, database:
        columns = "at, target, before, after, verdict, reason, message, instance"
        insert = f"INSERT INTO transitions ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
        database.executemany(insert, [transition] * rows)
        row = ("flapping", "restart", 0, "2026-01-01", "2026-01-01", "done")
        columns = "target, verb, by_operator, began_at, ended_at, outcome"
        database.executemany(f"INSERT INTO acts ({columns}) VALUES (?, ?, ?, ?, ?, ?)", [row] * rows)  # noqa: S608


async def test_a_folder_that_is_not_there_is_told_of_and_heals(tmp_path: Path) -> None:
    path = tmp_path / "gone" / "history.sqlite"

    async with opened(path) as store:
        with pytest.raises(sqlite3.OperationalError, match="unable to open"):
            await store.begin("general", act())
        path.parent.mkdir()
        number = await store.begin("general", act())

    assert number == 1


async def test_a_database_that_somebody_else_holds_is_given_up_in_time(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    async with opened(path) as store:
        await store.begin("general", act())
        with closing(sqlite3.connect(path)) as other:
            other.execute("BEGIN IMMEDIATE")
            began = time.monotonic()
            with pytest.raises((sqlite3.OperationalError, TimeoutError), match="locked"):
                await store.begin("general", act())
            took_s = time.monotonic() - began
            other.rollback()
        while (number := await _begin_if_free(store)) is None:
            assert time.monotonic() - began < 20

    assert took_s < TIMEOUT_S + 1
    assert number >= 2


async def _begin_if_free(store: Store) -> int | None:
    try:
        return await store.begin("general", act())
    except (sqlite3.OperationalError, TimeoutError):
        return None


WRITER = """
import asyncio, sys
from pathlib import Path
from supervisor.core.actions import Act
from supervisor.core.events import Verb
from supervisor.history.store import Store

async def main() -> None:
    store = Store(Path(sys.argv[1]))
    for _ in range(50):
        number = await store.begin("other", Act(verb=Verb.RESTART, grace_s=2.0, by_operator=False))
        await store.end(number, "done")
    store.close()

asyncio.run(main())
"""


async def test_two_processes_can_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    async with opened(path) as store:
        await store.begin("general", act())
        other = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WRITER, str(path), stderr=asyncio.subprocess.PIPE
        )
        for _ in range(50):
            await store.record("general", change(), instance=None)
        _, stderr = await other.communicate()

    assert (other.returncode, stderr) == (0, b"")
    assert query(path, "SELECT target, count(*), count(ended_at) FROM acts GROUP BY target ORDER BY target") == [
        ("general", 1, 0),
        ("other", 50, 50),
    ]
    assert query(path, "SELECT count(*) FROM transitions") == [(50,)]


async def test_closing_twice_or_unused_is_fine(tmp_path: Path) -> None:
    unused = Store(tmp_path / "history.sqlite")

    unused.close()
    unused.close()

    assert not (tmp_path / "history.sqlite").exists()


@pytest.mark.parametrize(
    ("acts", "for_need"),
    [
        pytest.param([(Verb.START, False)], True, id="started-by-us"),
        pytest.param([(Verb.START, True)], False, id="started-by-an-operator"),
        pytest.param([(Verb.START, False), (Verb.STOP, False)], False, id="stopped-since"),
        pytest.param([(Verb.RESTART, False)], False, id="restarted"),
        pytest.param([], False, id="never-touched"),
    ],
)
async def test_that_we_started_it_because_it_was_needed_outlives_us(
    tmp_path: Path, acts: list[tuple[Verb, bool]], for_need: bool
) -> None:
    async with opened(tmp_path / "history.sqlite") as store:
        for verb, by_operator in acts:
            await store.begin("planner", Act(verb=verb, grace_s=2.0, by_operator=by_operator))

        memory = await store.remember("planner", window_s=WINDOW_S)

    assert memory.for_need is for_need
    assert len(memory.restart_ages_s) == sum(verb is Verb.RESTART for verb, _ in acts)


@pytest.mark.parametrize(
    ("after", "by_operator", "ours"),
    [
        pytest.param(Phase.FAILED, False, True, id="refused-half-way"),
        pytest.param(Phase.BACKOFF, False, True, id="to-be-tried-again"),
        pytest.param(Phase.RESTARTING, False, True, id="under-way"),
        pytest.param(Phase.UP, False, False, id="well-since"),
        pytest.param(Phase.FAILED, True, False, id="asked-for"),
        pytest.param(Phase.STOPPED, False, False, id="stopped-since"),
    ],
)
async def test_that_an_end_was_our_own_doing_outlives_us(
    tmp_path: Path, after: Phase, by_operator: bool, ours: bool
) -> None:
    async with opened(tmp_path / "history.sqlite") as store:
        number = await store.begin("planner", Act(verb=Verb.RESTART, grace_s=2.0, by_operator=by_operator))
        await store.end(number, "refused")
        await store.record("planner", change(after), instance="4f1e")

        memory = await store.remember("planner", window_s=WINDOW_S)

    assert memory.is_ours is ours
    assert memory.over_at == pytest.approx(time.time(), abs=5)


async def test_a_restart_of_before_somebody_set_the_clock_back_is_none_of_just_now(tmp_path: Path) -> None:
    async with opened(tmp_path / "history.sqlite") as store:
        await store.begin("planner", Act(verb=Verb.RESTART, grace_s=2.0, by_operator=False))
        edit(tmp_path / "history.sqlite", "UPDATE acts SET began_at = '2999-01-01T00:00:00+00:00'")

        memory = await store.remember("planner", window_s=WINDOW_S)

    assert memory.restart_ages_s == ()


async def test_an_outcome_with_half_a_character_is_an_outcome(tmp_path: Path) -> None:
    async with opened(tmp_path / "history.sqlite") as store:
        number = await store.begin("planner", Act(verb=Verb.RESTART, grace_s=2.0, by_operator=False))

        await store.end(number, "refused: \udcff")

    assert query(tmp_path / "history.sqlite", "SELECT outcome FROM acts") == [("refused: ?",)]


async def test_what_was_done_is_told_the_newest_first_with_who_wanted_it_and_how_it_ended(tmp_path: Path) -> None:
    async with opened(tmp_path / "history.sqlite") as store:
        restart = await store.begin("general", act())
        await store.end(restart, "done")
        signal = await store.begin_signal("general", "SIGHUP")
        await store.end(signal, "it does not run", counts=False)
        await store.begin("general", act(Verb.STOP, by_operator=True))
        await store.begin("code", act())

        told = await store.acts("general", limit=10)
        newest = await store.acts("general", limit=1)

    assert [(each["verb"], each["by_operator"], each["outcome"], each["counts"]) for each in told] == [
        ("stop", True, None, True),
        ("signal SIGHUP", True, "it does not run", False),
        ("restart", False, "done", True),
    ]
    assert (told[0]["ended_at"], newest) == (None, told[:1])
    assert told[2]["began_at"] <= told[2]["ended_at"]


async def test_an_act_whose_time_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    async with opened(path) as store:
        await store.begin("general", act())
        await store.begin("general", act(Verb.STOP))
        edit(path, "UPDATE acts SET began_at = 'yesterday' WHERE verb = 'stop'")

        assert [each["verb"] for each in await store.acts("general", limit=10)] == ["restart"]


async def test_what_ended_by_an_operators_signal_is_ours_to_start_again_for_the_next_daemon_too(tmp_path: Path) -> None:
    async with opened(tmp_path / "history.sqlite") as store:
        await store.end(await store.begin_signal("general", "SIGKILL"), "done", counts=False)
        await store.record("general", change(Phase.BACKOFF), instance="4f1e")
        memory = await store.remember("general", window_s=WINDOW_S)

    assert (memory.is_ours, memory.restart_ages_s) == (True, ())
