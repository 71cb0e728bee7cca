"""All checks side by side: bounded in time, the worst first, and none that fails silences the others."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.doctor.around import Around, Once
from supervisor.doctor.checks import CHECKS
from supervisor.doctor.examination import examine, of_problems
from supervisor.doctor.finding import Finding, error, note, ok, warning
from tests.doctor.patient import around, backend


def test_what_hangs_is_told_and_the_others_are_not_held_up(tmp_path: Path) -> None:
    for_ever = threading.Event()

    def hangs(_: Around) -> Iterator[Finding]:
        for_ever.wait()
        yield ok("at last")

    began = time.monotonic()
    report = examine(around(tmp_path), {"hangs": hangs, "quick": lambda _: [note("here")]}, limit_s=0.3)
    for_ever.set()

    assert time.monotonic() - began < 5
    assert [(check, found.seen) for check, found in report.findings] == [
        ("hangs", "no answer within 0.3 s"),
        ("quick", "here"),
    ]
    assert report.is_in_the_way


def test_a_fault_of_ours_in_one_check_is_told_and_costs_no_other(tmp_path: Path) -> None:
    def breaks(_: Around) -> list[Finding]:
        raise ValueError("a strange thing")

    report = examine(around(tmp_path), {"breaks": breaks, "fine": lambda _: [ok("fine")]})

    assert [(check, str(found.severity)) for check, found in report.findings] == [("breaks", "warning"), ("fine", "ok")]
    assert "ValueError: a strange thing" in report.findings[0][1].seen


def test_the_worst_comes_first(tmp_path: Path) -> None:
    seen = [ok("a"), note("b"), error("c", cure="x"), warning("d", cure="y"), error("e", cure="z")]

    report = examine(around(tmp_path), {"all": lambda _: seen})

    assert "".join(found.seen for _, found in report.findings) == "cedba"


@pytest.mark.parametrize(
    ("seen", "is_in_the_way"),
    [(ok("x"), False), (note("x"), False), (warning("x", cure="y"), True), (error("x", cure="y"), True)],
)
def test_notes_are_not_in_the_way(tmp_path: Path, seen: Finding, is_in_the_way: bool) -> None:
    assert examine(around(tmp_path), {"one": lambda _: [seen]}).is_in_the_way is is_in_the_way


def test_of_one_target_only_what_concerns_it_and_everybody_is_told(tmp_path: Path) -> None:
    patient = around(tmp_path, backend("general", port=1) + backend("code", port=2), names=frozenset({"code"}))
    seen = [note("a", target="general"), note("b", target="code"), note("c")]

    report = examine(patient, {"all": lambda _: seen})

    assert [found.seen for _, found in report.findings] == ["b", "c"]
    assert [each.name for each in patient.targets] == ["code"]


def test_settings_that_cannot_be_used_are_all_there_is_to_tell() -> None:
    report = of_problems(["settings.toml: http.port = 70000: must be at most 65535"])

    assert report.is_in_the_way
    assert report.checks == ("settings",)
    assert report.findings[0][1].command == "benchai-supervisorctl check-config"


def test_settings_that_may_not_be_read_are_no_mistake_in_them() -> None:
    report = of_problems(["/etc/s.toml: cannot be read (Permission denied); check the path and its permissions"])

    assert report.findings[0][1].cure.startswith("run the doctor as root")


def test_what_several_checks_need_is_asked_once() -> None:
    asked: list[int] = []

    def find() -> int:
        asked.append(1)
        return 7

    once = Once(find)
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(once())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (answers, asked) == ([7] * 8, [1])


def test_with_everything_dead_all_checks_are_done_in_seconds(tmp_path: Path) -> None:
    dead = [backend(f"t{index}", port=1, engine="docker") for index in range(20)]
    targets = "".join(each.replace("127.0.0.1", f"127.0.1.{index}") for index, each in enumerate(dead))
    began = time.monotonic()

    report = examine(around(tmp_path, targets, more=f'[docker]\nhost = "unix://{tmp_path}/none.sock"'), CHECKS)

    assert time.monotonic() - began < 12
    assert [found.seen for _, found in report.findings if "our own fault" in found.seen] == []
    assert report.checks == tuple(CHECKS)
