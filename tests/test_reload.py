"""Settings read anew, over a real fleet: one reload at a time, what is asked of it, and what goes wrong."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from supervisor.core.state import Phase
from supervisor.errors import SettingsError
from supervisor.publish.answers import Refusal
from supervisor.reload import ANOTHER, GOES_ON, Reloads
from supervisor.settings import BackendSettings, Settings
from tests.fakes.yard import Yard, yard
from tests.test_fleet import CODE, GENERAL, backend

MATH = backend("math", 3)
NEW = GENERAL + MATH
SHORT_S = 0.2


class Office:
    """Reloads over a fleet, and what they did around it."""

    def __init__(self, ours: Yard) -> None:
        self.ours = ours
        self.lines: list[str] = []
        self.fault: Exception | None = None
        self.found: tuple[BackendSettings, ...] = ()
        self.reloads = Reloads(
            ours.file,
            ours.read(GENERAL + CODE),
            fleet=ours.fleet,
            board=ours.board,
            around=self._around,
            apply=self._apply,
            found=lambda _: self.found,
            read_within_s=SHORT_S,
        )

    @property
    def problem(self) -> str:
        """What people are told."""
        return self.ours.board.problems.get("settings", "")

    def write(self, text: str) -> None:
        """Change the file."""
        self.ours.file.write_text(text)

    @contextlib.contextmanager
    def _around(self) -> Iterator[None]:
        self.lines.append("begins")
        try:
            yield
        finally:
            self.lines.append("ends")

    def _apply(self, settings: Settings) -> None:
        if self.fault:
            raise self.fault
        self.lines.append(f"goes by {settings.daemon.mode}")


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    async with yard(tmp_path) as ours:
        office = Office(ours)
        await office.reloads.begin()
        yield office
        office.reloads.close()


async def test_the_difference_is_told_and_nothing_is_changed(office: Office) -> None:
    office.write(NEW)

    told = await office.reloads.compare(())

    assert [(each["name"], each["what"]) for each in told["targets"]] == [
        ("code", "disappeared"),
        ("math", "available"),
    ]
    assert (told["applied"], told["file"]) == (False, str(office.ours.file))
    assert (office.ours.fleet.names, office.lines) == (("general", "code"), [])


async def test_a_reload_is_told_of_before_and_after(office: Office) -> None:
    office.write(f'[daemon]\nmode = "observe"\n{NEW}')

    told = await office.reloads.update(())

    assert told["applied"]
    assert office.lines == ["begins", "goes by observe", "ends"]
    assert office.ours.fleet.names == ("general", "math")
    assert (office.ours.board.mode, office.ours.guard.mode) == ("observe", "observe")
    assert (await office.reloads.difference()).is_nothing


async def test_two_at_once_are_one_after_the_other(office: Office) -> None:
    keeper = office.ours.fleet.keepers["code"]
    keeper.state = type(keeper.state)(phase=Phase.RESTARTING, since=1.0)
    office.write(NEW)
    first = asyncio.ensure_future(office.reloads.reload())
    while "math" not in office.ours.fleet.keepers:
        await office.ours.board.change()
    office.write(GENERAL)
    second = asyncio.ensure_future(office.reloads.reload())
    await asyncio.sleep(SHORT_S)
    meanwhile = list(office.lines)

    keeper.state = type(keeper.state)(phase=Phase.STARTING, since=2.0)
    office.ours.board.put(keeper.snapshot())
    await asyncio.gather(first, second)

    assert meanwhile == ["begins", "goes by enforce"]
    assert office.lines == ["begins", "goes by enforce", "ends"] * 2
    assert office.ours.fleet.names == ("general",)


async def test_a_signal_has_it_read_and_many_of_them_once_more_at_the_most(office: Office) -> None:
    running = asyncio.ensure_future(office.reloads.run())
    office.write(NEW)

    for _ in range(10):
        office.reloads.hang_up()
    await _until(lambda: office.ours.fleet.names == ("general", "math") and office.lines[-1] == "ends")
    running.cancel()

    assert office.lines.count("begins") == 1


async def test_a_signal_that_meets_a_bad_file_or_a_fault_of_ours_ends_nothing(office: Office) -> None:
    running = asyncio.ensure_future(office.reloads.run())
    for text, fault, word in (("[http", None, "is not TOML"), (NEW, RuntimeError("x"), "our own reload failed")):
        office.write(text)
        office.fault = fault
        office.reloads.hang_up()
        await _until(partial(_is_told, office, word))
    office.fault = None

    office.reloads.hang_up()
    await _until(lambda: not office.problem)

    assert not running.done()
    assert office.ours.fleet.names == ("general", "math")
    running.cancel()


async def test_a_bad_file_changes_nothing_and_the_next_good_one_ends_the_complaint(office: Office) -> None:
    keepers = dict(office.ours.fleet.keepers)
    office.write(NEW.replace("http://", "ftp://"))

    with pytest.raises(SettingsError) as raised:
        await office.reloads.reload()
    problem = office.problem
    with pytest.raises(SettingsError):
        await office.reloads.difference()
    office.write(GENERAL + CODE)
    await office.reloads.reload()

    lines = str(raised.value).splitlines()
    assert len(lines) == 2
    assert problem == f"not reloaded, and nothing has changed: {lines[0]} (and 1 more: benchai-supervisord --check)"
    assert office.problem == ""
    assert {name: keeper is keepers[name] for name, keeper in office.ours.fleet.keepers.items()} == dict.fromkeys(
        keepers, True
    )


async def test_a_disk_that_does_not_answer_holds_nobody_up(office: Office) -> None:
    office.ours.file.unlink()
    os.mkfifo(office.ours.file)  # whoever opens it waits for a writer

    with pytest.raises(SettingsError, match=f"could not be read within {SHORT_S:g}s"):
        await office.reloads.reload()

    office.ours.file.open("w").close()
    assert office.ours.fleet.names == ("general", "code")


async def test_what_contradicts_what_cannot_change_is_refused_in_those_words(office: Office) -> None:
    office.write(f"[http]\nport = 9000\n{backend('math', 8090)}")

    with pytest.raises(SettingsError) as raised:
        await office.reloads.reload()

    told = "http.port = 8090 (as we run, until the daemon is restarted): is the port of backends.math.url too"
    assert told in str(raised.value)
    assert office.ours.fleet.names == ("general", "code")


async def test_some_targets_alone_are_gone_by_and_the_rest_stays_to_be_done(office: Office) -> None:
    office.write(f'[daemon]\nmode = "observe"\n{NEW}')

    told = await office.reloads.reload(["math"])
    left = await office.reloads.difference()

    assert [each.name for each in told.targets] == ["math"]
    assert sorted(office.ours.fleet.names) == ["code", "general", "math"]
    assert ([each.name for each in left.targets], [each.key for each in left.common]) == (["code"], ["daemon.mode"])
    with pytest.raises(Refusal, match="there is no target 'nobody'"):
        await office.reloads.reload(["nobody"])
    assert office.problem == ""


async def test_what_runs_on_is_said_to(office: Office) -> None:
    general = 'name = "general"\nurl = "http://127.0.0.1:1"\nmodels = ["general"]\n'
    keepers = office.ours.fleet.keepers
    await _until(lambda: all(keeper.evidence.engine is not None for keeper in keepers.values()))

    office.write(f'[[backends]]\n{general}engine = "docker"\n')
    moved = await office.reloads.difference()
    office.write(f'[[backends]]\n{general}engine = "process"\ncommand = ["serve"]\n{CODE}')
    run = await office.reloads.difference()

    assert {each.name: each.note for each in moved.targets} == {"general": ANOTHER, "code": GOES_ON}
    assert [each.note for each in run.targets] == [ANOTHER]


async def test_what_is_found_is_watched_beside_the_file_and_is_none_of_its_difference(office: Office) -> None:
    office.found = (BackendSettings(name="found", url="http://127.0.0.1:7", models=("found",), engine="none"),)

    await office.reloads.settle_found()
    watched = office.ours.fleet.names
    untold = (await office.reloads.difference()).is_nothing
    office.found = ()
    await office.reloads.settle_found()

    assert (watched, untold) == (("general", "code", "found"), True)
    assert office.ours.fleet.names == ("general", "code")


async def test_whoever_is_being_ended_changes_nothing_any_more(office: Office) -> None:
    office.found = (BackendSettings(name="found", url="http://127.0.0.1:7", models=("found",), engine="none"),)
    office.write(NEW)
    running = asyncio.ensure_future(office.reloads.run())

    office.reloads.leave()
    office.reloads.hang_up()
    await office.reloads.settle_found()
    with pytest.raises(Refusal, match="is being ended") as refused:
        await office.reloads.reload()

    assert (refused.value.status_code, office.problem, office.lines) == (503, "", [])
    assert office.ours.fleet.names == ("general", "code")
    assert not running.done()
    running.cancel()


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10.0):
        while not holds():  # noqa: ASYNC110 - a signal hears no answer
            await asyncio.sleep(0.01)


def _is_told(office: Office, word: str) -> bool:
    return word in office.problem
