"""What every engine promises, on real containers and real processes."""

import asyncio
import signal
import time

import pytest

from supervisor.core.observations import EngineSeen, Life
from supervisor.errors import EngineRefused, TargetMissing
from tests.engines.bench import BURNS, CRASHES, EXITS, HEARS_HUP, IGNORES, OBEYS, Bench, become, ended, start, ups

# One argument that holds a command line, as `sh -c` takes it.
SLEEPER = f"# llama-server --sleep-idle-seconds 300\n{OBEYS}"


async def test_what_the_arguments_say_about_sleeping_is_told_before_during_and_after_a_life(bench: Bench) -> None:
    name, other = bench.make(SLEEPER), bench.make(OBEYS)
    before = await bench.engine.inspect(name)
    await start(bench, name)
    during = await bench.engine.inspect(name)

    await bench.engine.stop(name, grace_s=10)

    after = await bench.engine.inspect(name)
    assert [seen.sleep_idle_s for seen in (before, during, after)] == 3 * [300.0]
    assert (await bench.engine.inspect(other)).sleep_idle_s is None


async def test_a_target_that_was_never_started_has_no_instance(bench: Bench) -> None:
    name = bench.make(OBEYS)

    seen = await bench.engine.inspect(name)

    assert seen.life in (Life.CREATED, Life.EXITED)
    assert (seen.instance, seen.pid, seen.exit_code) == (None, None, None)
    assert not seen.stopped_by_operator


async def test_a_started_target_runs_and_has_an_instance_a_pid_and_an_age(bench: Bench) -> None:
    name = bench.make(OBEYS)

    await bench.engine.start(name)

    seen = await bench.engine.inspect(name)
    assert seen.life is Life.RUNNING
    assert seen.instance is not None
    assert seen.started_at is not None
    assert seen.instance.endswith(f"@{seen.started_at}")
    assert seen.pid is not None
    assert seen.age_s is not None
    assert 0 <= seen.age_s < 10
    assert (seen.ended_at, seen.exit_code, seen.stopped_by_operator) == (None, None, False)


async def test_starting_a_running_target_leaves_it_as_it_is(bench: Bench) -> None:
    name = bench.make(OBEYS)
    await bench.engine.start(name)
    before = await bench.engine.inspect(name)

    await bench.engine.start(name)

    assert (await bench.engine.inspect(name)).instance == before.instance


async def test_a_target_that_we_stopped_has_exited_and_no_operator_did_it(bench: Bench) -> None:
    name = bench.make(OBEYS)
    await start(bench, name)

    await bench.engine.stop(name, grace_s=10)

    seen = await bench.engine.inspect(name)
    assert (seen.life, seen.exit_code, seen.pid, seen.age_s) == (Life.EXITED, 0, None, None)
    assert seen.ended_at is not None
    assert not seen.stopped_by_operator


async def test_stopping_a_stopped_target_leaves_it_as_it_is(bench: Bench) -> None:
    name = bench.make(OBEYS)
    await start(bench, name)
    await bench.engine.stop(name, grace_s=10)
    before = await bench.engine.inspect(name)

    await bench.engine.stop(name, grace_s=10)

    assert await bench.engine.inspect(name) == before


async def test_stopping_a_target_that_never_ran_is_no_error(bench: Bench) -> None:
    name = bench.make(OBEYS)

    await bench.engine.stop(name, grace_s=10)

    assert (await bench.engine.inspect(name)).life in (Life.CREATED, Life.EXITED)


async def test_a_restart_makes_a_new_instance(bench: Bench) -> None:
    name = bench.make(OBEYS)
    await start(bench, name)
    before = await bench.engine.inspect(name)

    await bench.engine.restart(name, grace_s=10)

    after = await bench.engine.inspect(name)
    assert after.life is Life.RUNNING
    assert after.instance != before.instance
    assert not after.stopped_by_operator


async def test_restarting_a_stopped_target_starts_it(bench: Bench) -> None:
    name = bench.make(OBEYS)

    await bench.engine.restart(name, grace_s=10)

    assert (await bench.engine.inspect(name)).life is Life.RUNNING


async def test_a_target_that_obeys_is_not_made_to_use_up_its_grace(bench: Bench) -> None:
    name = bench.make(OBEYS)
    await start(bench, name)
    began = time.monotonic()

    await bench.engine.stop(name, grace_s=60)

    assert time.monotonic() - began < 10
    assert (await bench.engine.inspect(name)).exit_code == 0


async def test_a_target_that_ignores_sigterm_is_killed_when_its_grace_is_over(bench: Bench) -> None:
    name = bench.make(IGNORES)
    await start(bench, name)
    began = time.monotonic()

    await bench.engine.stop(name, grace_s=1)

    assert 1 <= time.monotonic() - began < 5
    seen = await bench.engine.inspect(name)
    assert (seen.life, seen.exit_code) == (Life.EXITED, 137)
    assert not seen.oom_killed
    assert not seen.stopped_by_operator


async def test_no_grace_at_all_kills_at_once(bench: Bench) -> None:
    name = bench.make(IGNORES)
    await start(bench, name)
    began = time.monotonic()

    await bench.engine.stop(name, grace_s=0)

    assert time.monotonic() - began < 3
    assert (await bench.engine.inspect(name)).exit_code == 137


async def test_an_exit_code_is_passed_on(bench: Bench) -> None:
    name = bench.make(EXITS)

    await bench.engine.start(name)

    seen = await ended(bench, name)
    assert (seen.exit_code, seen.stopped_by_operator) == (3, False)


async def test_a_segmentation_fault_is_exit_code_139_and_a_crash(bench: Bench) -> None:
    name = bench.make(CRASHES)

    await bench.engine.start(name)

    seen = await ended(bench, name)
    assert (seen.exit_code, seen.stopped_by_operator) == (139, False)


async def test_a_kill_from_outside_is_exit_code_137_and_a_crash(bench: Bench) -> None:
    name = bench.make(OBEYS)
    await start(bench, name)

    await bench.signal(name, signal.SIGKILL)

    seen = await ended(bench, name)
    assert (seen.exit_code, seen.oom_killed, seen.stopped_by_operator) == (137, False, False)


async def test_a_crashed_target_can_be_started_again(bench: Bench) -> None:
    name = bench.make(OBEYS)
    await start(bench, name)
    await bench.signal(name, signal.SIGKILL)
    crashed = await ended(bench, name)

    await bench.engine.start(name)

    seen = await bench.engine.inspect(name)
    assert seen.life is Life.RUNNING
    assert seen.instance != crashed.instance


async def test_a_target_frozen_by_a_signal_still_runs_and_burns_nothing(bench: Bench) -> None:
    name = bench.make(BURNS)
    await start(bench, name)
    await bench.signal(name, signal.SIGSTOP)
    before = await bench.engine.cpu_s(name)

    await asyncio.sleep(0.3)

    # To a hundredth of what it would have burned: the kernel books the last microseconds a little later.
    assert await bench.engine.cpu_s(name) == pytest.approx(before, abs=0.003)
    seen = await bench.engine.inspect(name)
    assert (seen.life, seen.stopped_by_operator) == (Life.RUNNING, False)


async def test_a_frozen_target_can_be_restarted(bench: Bench) -> None:
    name = bench.make(OBEYS)
    await start(bench, name)
    before = await bench.engine.inspect(name)
    await bench.signal(name, signal.SIGSTOP)

    await bench.engine.restart(name, grace_s=1)

    await ups(bench, name, 2)
    assert (await bench.engine.inspect(name)).instance != before.instance


async def test_a_signal_reaches_the_target_and_nothing_else_happens(bench: Bench) -> None:
    name = bench.make(HEARS_HUP)
    await start(bench, name)
    before = await bench.engine.inspect(name)

    await bench.engine.signal(name, signal.SIGHUP)

    async def has_heard() -> bool:
        return "heard\n" in await bench.engine.log_tail(name, max_bytes=1000)

    await become(f"{name} hears", has_heard)
    after = await bench.engine.inspect(name)
    assert (after.life, after.instance, after.stopped_by_operator) == (Life.RUNNING, before.instance, False)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGKILL, 137)])
async def test_an_end_by_a_signal_that_we_sent_is_nobodys_stop_and_says_by_which(
    bench: Bench, number: signal.Signals, code: int
) -> None:
    name = bench.make(OBEYS)
    await start(bench, name)

    await bench.engine.signal(name, number)

    seen = await ended(bench, name)
    assert (seen.exit_code, seen.stopped_by_operator, seen.signalled) == (code, False, number.name)


async def test_a_later_end_of_another_life_is_not_held_against_the_signal(bench: Bench) -> None:
    name = bench.make(OBEYS)
    await start(bench, name)
    await bench.engine.signal(name, signal.SIGTERM)
    await ended(bench, name)
    await start(bench, name)
    await ups(bench, name, 2)

    await bench.signal(name, signal.SIGKILL)

    seen = await ended(bench, name)
    assert (seen.exit_code, seen.stopped_by_operator, seen.signalled) == (137, False, "")


async def test_a_target_that_was_told_to_stop_and_to_go_on_is_the_same_as_before(bench: Bench) -> None:
    name = bench.make(BURNS)
    await start(bench, name)
    before = await bench.engine.inspect(name)

    await bench.engine.signal(name, signal.SIGSTOP)
    stopped = await bench.engine.inspect(name)
    await bench.engine.signal(name, signal.SIGCONT)

    after = await bench.engine.inspect(name)
    assert [each.life for each in (stopped, after)] == [Life.RUNNING, Life.RUNNING]
    assert (stopped.stopped_by_operator, after.instance) == (False, before.instance)


async def test_what_does_not_run_is_sent_no_signal(bench: Bench) -> None:
    never, gone = bench.make(OBEYS), bench.make(OBEYS)
    await start(bench, gone)
    await bench.engine.stop(gone, grace_s=10)

    for name in (never, gone):
        with pytest.raises(EngineRefused, match=rf"SIGHUP to {name}.*it does not run"):
            await bench.engine.signal(name, signal.SIGHUP)


async def test_cpu_time_moves_while_a_target_works(bench: Bench) -> None:
    name = bench.make(BURNS)
    await start(bench, name)
    before = await bench.engine.cpu_s(name)
    assert before is not None

    async def has_burned() -> bool:
        after = await bench.engine.cpu_s(name)
        return after is not None and after > before + 0.1

    assert await become(f"{name} burns CPU", has_burned)


async def test_cpu_time_stands_still_while_a_target_sleeps(bench: Bench) -> None:
    name = bench.make(OBEYS)
    await start(bench, name)
    before = await bench.engine.cpu_s(name)
    assert before is not None

    await asyncio.sleep(0.3)

    after = await bench.engine.cpu_s(name)
    assert after is not None
    assert after - before < 0.015  # the kernel counts in hundredths


async def test_a_target_that_does_not_run_has_no_cpu_time(bench: Bench) -> None:
    name = bench.make(OBEYS)

    assert await bench.engine.cpu_s(name) is None


async def test_the_log_holds_both_outputs(bench: Bench) -> None:
    name = bench.make("import sys; print('to stdout', flush=True); print('to stderr', file=sys.stderr)")
    await bench.engine.start(name)
    await ended(bench, name)

    log = await bench.engine.log_tail(name, max_bytes=1000)

    assert sorted(log.splitlines()) == ["to stderr", "to stdout"]


async def test_a_log_tail_is_the_end_and_no_longer_than_asked_for(bench: Bench) -> None:
    name = bench.make("for i in range(5000): print('line', i)")
    await bench.engine.start(name)
    await ended(bench, name)

    log = await bench.engine.log_tail(name, max_bytes=100)

    assert log.endswith("line 4998\nline 4999\n")
    assert len(log.encode()) == 100


async def test_a_log_tail_cut_within_a_character_is_still_text(bench: Bench) -> None:
    name = bench.make("import sys; sys.stdout.buffer.write('ü'.encode() * 100)")
    await bench.engine.start(name)
    await ended(bench, name)

    log = await bench.engine.log_tail(name, max_bytes=5)

    assert log == "\ufffdüü"


async def test_the_log_of_a_target_that_never_ran_is_empty(bench: Bench) -> None:
    name = bench.make(OBEYS)

    assert await bench.engine.log_tail(name, max_bytes=100) == ""


async def test_a_missing_target_is_an_answer_to_an_inspection(bench: Bench) -> None:
    assert await bench.engine.inspect("nobody-has-this-name") == EngineSeen(life=Life.MISSING)


async def test_a_missing_target_is_an_error_to_everything_else(bench: Bench) -> None:
    engine, name = bench.engine, "nobody-has-this-name"

    for call in (
        lambda: engine.start(name),
        lambda: engine.stop(name, grace_s=1),
        lambda: engine.restart(name, grace_s=1),
        lambda: engine.signal(name, signal.SIGHUP),
        lambda: engine.cpu_s(name),
        lambda: engine.log_tail(name, max_bytes=100),
    ):
        with pytest.raises(TargetMissing, match=name):
            await call()


async def test_a_target_that_cannot_start_is_refused_in_the_words_of_the_system(bench: Bench) -> None:
    name = bench.make_unstartable()

    with pytest.raises(EngineRefused, match=rf"{name}.*(?i:no such file)"):
        await bench.engine.start(name)

    seen = await bench.engine.inspect(name)
    assert seen.life is Life.EXITED
    assert "no such file" in seen.detail.lower()
    assert not seen.stopped_by_operator


async def test_what_was_forgotten_is_found_again_as_it_is(bench: Bench) -> None:
    name = bench.make(OBEYS)
    await start(bench, name)
    before = await bench.engine.inspect(name)
    await bench.engine.log_tail(name, max_bytes=100)
    await bench.engine.circumstances(name)

    bench.engine.forget(name)
    bench.engine.forget(name)

    after = await bench.engine.inspect(name)
    assert (after.life, after.pid, after.instance) == (before.life, before.pid, before.instance)
    await bench.engine.stop(name, grace_s=10)
    assert (await bench.engine.inspect(name)).life is Life.EXITED
