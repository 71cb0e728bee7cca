"""The client's reports where the supervisor is not well, and the thread that sends them."""

import contextlib
import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import supervisor.client
from supervisor.client import MAX_REPORTS, Liveness
from tests.fakes.clocks import Clocks
from tests.fakes.ear import Ear, reporting_threads, takes, wait_until
from tests.fakes.upstream import Behaviour, Connection, drips, fails, hangs_up, resets, sends_then, silent

# --- a supervisor that is not well ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "behave",
    [
        pytest.param(hangs_up, id="hangs-up"),
        pytest.param(resets, id="resets"),
        pytest.param(sends_then("220 smtp ready\r\n", hangs_up), id="not-http"),
        pytest.param(fails("500 Internal Server Error"), id="500"),
    ],
)
def test_what_was_not_taken_is_sent_once_more_with_its_age(
    liveness: Liveness, ear: Ear, clocks: Clocks, behave: Behaviour
) -> None:
    ear.behave = behave
    liveness.report("code", ok=False)
    wait_until(lambda: len(ear.batches) == 1)

    clocks.pass_s(3.0)
    ear.behave = takes
    liveness.report("general", ok=False)
    wait_until(lambda: len(ear.batches) == 3)

    assert [[(each["backend"], each["age_s"]) for each in batch] for batch in ear.batches[1:]] == [
        [("code", 3.0)],
        [("general", 0.0)],
    ]


def test_what_was_not_taken_twice_is_dropped(liveness: Liveness, ear: Ear) -> None:
    ear.behave = hangs_up
    liveness.report("code", ok=False)
    wait_until(lambda: len(ear.batches) == 2)

    ear.behave = takes
    liveness.report("general", ok=False)
    wait_until(lambda: "general" in ear.backends)

    assert ear.backends == ["code", "code", "general"]


@pytest.mark.parametrize("status", ["400 Bad Request", "403 Forbidden", "404 Not Found", "202 Accepted"])
def test_what_was_answered_is_not_sent_again(liveness: Liveness, ear: Ear, status: str) -> None:
    ear.behave = fails(status)
    liveness.report("code", ok=False)
    wait_until(lambda: len(ear.batches) == 1)

    liveness.report("general", ok=False)
    wait_until(lambda: "general" in ear.backends)

    assert ear.backends == ["code", "general"]


def test_a_supervisor_that_is_slow_is_told_once(liveness: Liveness, ear: Ear) -> None:
    def slow(connection: Connection) -> None:
        connection.wait(0.7)
        takes(connection)

    ear.behave = slow
    for name in ("code", "general"):
        liveness.report(name, ok=False)
        wait_until(lambda name=name: name in ear.backends)  # type: ignore[misc]
    liveness.close()

    assert ear.backends == ["code", "general"]


@pytest.mark.parametrize("behave", [silent, drips], ids=["silent", "drips"])
def test_a_supervisor_that_hangs_keeps_nobody_waiting(liveness: Liveness, ear: Ear, behave: Behaviour) -> None:
    ear.behave = behave
    liveness.report("code", ok=False)
    wait_until(lambda: len(ear.connections) == 1)

    for number in range(1000):
        liveness.report(f"{number}", ok=False)
    liveness.close()

    assert len(ear.reports) < MAX_REPORTS  # the others were not waited for


def test_a_supervisor_that_is_gone_costs_nothing_and_one_that_comes_is_told(path: Path) -> None:
    gone = path.parent / "control.sock"
    with Ear(at=gone):
        pass  # the socket stays behind, and nobody listens there, as after a crash
    with contextlib.closing(Liveness(path)) as liveness:
        for number in range(1000):
            liveness.report(f"{number}", ok=False)
        assert reporting_threads() == 1

        gone.unlink()
        with Ear(at=gone) as ear:
            wait_until(lambda: bool(ear.reports))

    assert reporting_threads() == 0


# --- the thread -------------------------------------------------------------------------------------------------------


def test_no_thread_is_started_before_the_first_report(path: Path, ear: Ear) -> None:
    with contextlib.closing(Liveness(path, report_to=ear.url)) as liveness:
        liveness.pick("code")

        assert reporting_threads() == 0


def test_the_thread_ends_where_nothing_is_reported_and_another_is_started_when_it_is(
    liveness: Liveness, ear: Ear
) -> None:
    liveness.report("code", ok=False)
    assert reporting_threads() == 1
    wait_until(lambda: reporting_threads() == 0)

    liveness.report("general", ok=False)
    wait_until(lambda: ear.backends == ["code", "general"])


def test_closing_sends_what_waits_and_ends_the_thread_and_later_reports_are_dropped(
    liveness: Liveness, ear: Ear
) -> None:
    for name in ("a", "b", "c"):
        liveness.report(name, ok=True)

    liveness.close()
    assert ear.backends == ["a", "b", "c"]
    wait_until(lambda: reporting_threads() == 0)
    liveness.report("d", ok=False)
    liveness.close()

    assert ear.backends == ["a", "b", "c"]
    assert reporting_threads() == 0


def test_the_file_alone_reports_from_a_program_and_from_its_fork(tmp_path: Path, ear: Ear) -> None:
    shutil.copy(supervisor.client.__file__, tmp_path / "liveness_client.py")
    program = f"""
        import os, threading, time
        from liveness_client import Liveness

        def flood():
            while not done.is_set():
                liveness.report("parent", ok=True)

        liveness = Liveness("nowhere.json", report_to="{ear.url}")
        done = threading.Event()
        others = [threading.Thread(target=flood) for _ in range(4)]
        for other in others:
            other.start()
        children = []
        for number in range(20):
            child = os.fork()  # at a moment when another thread may hold any lock
            if not child:
                liveness.report(f"child {{number}}", ok=False)
                liveness.close()
                while threading.active_count() > 1:
                    time.sleep(0.01)  # a slow machine may need longer than the second that closing waits
                os._exit(0)
            children.append(child)
        done.set()
        for other in others:
            other.join()
        ends = [os.waitpid(child, 0)[1] for child in children]
        liveness.report("parent", ok=False)
        liveness.close()
        print(ends)
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=tmp_path,
        env={},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert (json.loads(ran.stdout), ran.stderr) == ([0] * 20, "")
    wait_until(lambda: {f"child {number}" for number in range(20)} <= set(ear.backends))
    assert [report["ok"] for report in ear.reports if report["backend"] == "parent"][-1] is False
