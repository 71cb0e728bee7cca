"""Which labelled containers are watched: who is admitted, who is told of, who is waited for, what outlives us."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from supervisor.discovery import MOST_TOLD, Discovery
from supervisor.engines.base import Changed
from supervisor.engines.docker import DockerEngine
from supervisor.engines.docker_labelled import MOST, Labelled
from supervisor.errors import EngineUnreachable, SupervisorError
from supervisor.settings import BackendSettings, DockerSettings, Settings
from supervisor.settings_labels import PREFIX

GRACE_S = 60.0
ENABLE = f"{PREFIX}enable"
FILE = Settings(
    docker=DockerSettings(discover=True, discover_grace_s=GRACE_S),
    backends=(BackendSettings(name="general", url="http://127.0.0.1:1", models=("general",)),),
)


def box(container: str, port: int, /, *, started: bool = True, **labels: str) -> Labelled:
    told = {ENABLE: "true", **{f"{PREFIX}{key}": value for key, value in labels.items()}}
    return Labelled(name=container, labels=told, doors={8080: f"http://127.0.0.1:{port}"}, was_started=started)


class Engine(DockerEngine):
    """Lists what a test says."""

    def __init__(self) -> None:
        super().__init__(host="unix:///nowhere", timeout_s=1.0, workers=1)
        self.boxes: list[Labelled] = []
        self.fault: SupervisorError | None = None
        self.asked = 0

    async def labelled(self, label: str, *, prefix: str) -> list[Labelled]:
        assert (label, prefix) == (ENABLE, PREFIX)
        self.asked += 1
        if self.fault is not None:
            raise self.fault
        return list(self.boxes)


class Search:
    """A search for containers, whose clock and whose engine a test has."""

    def __init__(self, folder: Path, settings: Settings = FILE) -> None:
        self.now = 1000.0
        self.path = folder / "found.json"
        self.settings = settings
        self.problems: dict[str, str] = {}
        self.engine = Engine()
        self.watched: list[str] = []
        self.settled = 0
        self.discovery = self.begin()

    def begin(self) -> Discovery:
        """Begin a life of the daemon."""
        self.discovery = Discovery(self.path, problems=self.problems, clock=lambda: self.now)
        self.discovery.remember()
        return self.discovery

    async def look(self, *boxes: Labelled, after_s: float = 0.0) -> list[str]:
        """Have the engine list these; return who is watched from then on."""
        self.now += after_s
        self.engine.boxes = list(boxes)
        await self.discovery._look(self.engine, self.settings, self._settle)
        return self.watched

    async def _settle(self) -> None:
        self.settled += 1
        self.watched = [f"{each.name}@{each.container}" for each in self.discovery.admitted(self.settings)]


@pytest.fixture
def search(tmp_path: Path) -> Search:
    return Search(tmp_path)


async def test_what_is_found_is_watched_and_nothing_is_done_while_nothing_changes(search: Search) -> None:
    assert await search.look(box("one", 2), box("two", 3, name="code")) == ["one@one", "code@two"]

    await search.look(box("one", 2), box("two", 3, name="code"), after_s=30.0)

    assert search.settled == 1


async def test_one_that_is_gone_is_waited_for_and_then_let_go(search: Search) -> None:
    await search.look(box("one", 2))

    assert await search.look(after_s=10.0) == ["one@one"]
    assert await search.look(after_s=GRACE_S - 1) == ["one@one"]
    assert await search.look(after_s=1.0) == []


async def test_one_that_is_made_anew_in_time_was_never_gone(search: Search) -> None:
    await search.look(box("one", 2))
    await search.look(after_s=10.0)

    assert await search.look(box("one", 2), after_s=GRACE_S - 1) == ["one@one"]
    assert await search.look(after_s=GRACE_S - 1) == ["one@one"]


async def test_one_that_does_not_want_it_any_more_goes_at_once(search: Search) -> None:
    await search.look(box("one", 2))

    assert await search.look(box("one", 2, enable="false")) == []


async def test_while_it_does_not_run_nobody_can_tell_its_address_and_the_last_one_stands(search: Search) -> None:
    await search.look(box("one", 2))
    (before,) = search.discovery.admitted(FILE)

    await search.look(Labelled(name="one", labels=box("one", 2).labels))

    (after,) = search.discovery.admitted(FILE)
    assert after.url == before.url == "http://127.0.0.1:2"


async def test_another_address_or_other_labels_are_taken_over(search: Search) -> None:
    await search.look(box("one", 2))

    await search.look(box("one", 9, models="a,b"))

    (found,) = search.discovery.admitted(FILE)
    assert (found.url, found.models) == ("http://127.0.0.1:9", ("a", "b"))


async def test_compose_makes_the_next_one_aside_and_that_is_nobody_new(search: Search) -> None:
    """It creates the new container under a name for the time being, removes the old one, and renames the new one."""
    old, aside = box("general-1", 2, name="planner"), box("4f1e_general-1", 0, name="planner", started=False)
    await search.look(old)

    beside, alone, renamed = await search.look(old, aside), await search.look(aside), await search.look(old)

    assert beside == alone == renamed == ["planner@general-1"]
    assert search.problems == {}


async def test_another_container_takes_over_from_one_that_is_gone_at_once(search: Search) -> None:
    await search.look(box("blue", 2, name="planner"))

    both = await search.look(box("blue", 2, name="planner"), box("green", 3, name="planner"))
    problem = dict(search.problems)
    green = await search.look(box("green", 3, name="planner"))

    assert (both, green) == (["planner@blue"], ["planner@green"])
    assert list(problem) == ["container green is not watched"]
    assert search.problems == {}


async def test_the_file_wins_over_labels_and_whoever_is_watched_over_whoever_comes(search: Search) -> None:
    await search.look(box("zeta", 2, name="planner"))

    others = box("alpha", 3, name="planner"), box("beta", 4, name="general")
    watched = await search.look(*others, box("zeta", 2, name="planner"))

    assert watched == ["planner@zeta"]
    assert sorted(search.problems) == ["container alpha is not watched", "container beta is not watched"]


async def test_a_stand_in_is_admitted_after_the_one_it_stands_in_for(search: Search) -> None:
    watched = await search.look(box("a-cpu", 2, stands_in_for="z-gpu"), box("z-gpu", 3))

    assert watched == ["z-gpu@z-gpu", "a-cpu@a-cpu"]


async def test_what_is_wrong_is_told_until_it_is_mended_and_disturbs_nobody(search: Search) -> None:
    first = await search.look(box("bad", 2, canary="x", modles="y"), box("neither", 4, enable="yes"), box("good", 3))
    problems = dict(search.problems)
    then = await search.look(box("bad", 2), box("good", 3))

    assert first == ["good@good"]
    assert problems == {
        "container bad is not watched": f'label {PREFIX}modles = "y": is not a key for labels; did you mean models?;'
        f" label {PREFIX}canary = \"x\": must be one of 'chat', 'completion', 'embeddings' or 'vision'",
        "container neither is not watched": f'label {ENABLE} = "yes": must be true or false',
    }
    assert (sorted(then), search.problems) == (["bad@bad", "good@good"], {})


async def test_an_engine_that_does_not_answer_lets_nobody_go(search: Search) -> None:
    await search.look(box("one", 2))
    search.engine.fault = EngineUnreachable("Docker did not list its containers")

    blind = await search.look(after_s=10 * GRACE_S)
    problem = dict(search.problems)
    search.engine.fault = None
    await search.look(box("one", 2))

    assert blind == ["one@one"]
    assert problem == {"docker.discover": "Docker did not list its containers"}
    assert search.problems == {}


async def test_what_was_found_is_known_to_the_next_daemon_before_the_engine_answers(search: Search) -> None:
    await search.look(box("one", 2, name="planner", models="a,b"), box("bad", 3, canary="x"))

    (found,) = search.begin().admitted(FILE)

    assert (found.name, found.models, found.url) == ("planner", ("a", "b"), "http://127.0.0.1:2")


UNREADABLE = ("", "[]", '{"found": 3}', '{"found": [{"name": "x"}]}', '{"found": [{"name": "x", "labels": 1}]}')


@pytest.mark.parametrize("text", UNREADABLE)
def test_a_file_of_what_was_found_that_cannot_be_read_is_begun_anew(search: Search, text: str) -> None:
    search.path.write_text(text)

    assert search.begin().admitted(FILE) == ()


async def test_a_disk_that_takes_nothing_keeps_nobody_from_being_watched(search: Search) -> None:
    search.path.mkdir()

    assert await search.look(box("one", 2)) == ["one@one"]


def test_nobody_is_admitted_where_nobody_is_looked_for(search: Search) -> None:
    off = FILE.model_copy(update={"docker": DockerSettings(discover=False)})

    assert search.discovery.admitted(off) == ()


async def test_it_looks_when_a_container_comes_or_goes_and_not_for_every_stir(tmp_path: Path) -> None:
    search = Search(tmp_path)
    search.engine.boxes = [box("one", 2)]
    running = asyncio.create_task(
        search.discovery.run(engine=lambda: search.engine, settings=lambda: search.settings, settle=search._settle)
    )
    search.discovery.heard(Changed(name="one", what="kill (signal 15)"))
    await asyncio.sleep(0.7)
    untouched = search.engine.asked
    search.discovery.heard(Changed(name="one", what="start"))
    await _until(lambda: search.watched == ["one@one"])
    running.cancel()

    assert (untouched, search.engine.asked) == (0, 1)


async def test_hundreds_are_admitted_in_no_time_and_each_that_clashes_is_told_of_alone(search: Search) -> None:
    boxes = [box(f"box-{number:03}", 1000 + number) for number in range(MOST - 1)]
    boxes[7] = box("box-007", 1003)
    boxes[200] = box("box-200", 1200, name="general")
    began_s = time.process_time()

    watched = await search.look(*boxes)

    assert time.process_time() - began_s < 1.0
    assert watched == [f"{each.name}@{each.name}" for each in boxes if each.name not in ("box-007", "box-200")]
    assert {part: why.partition(" = ")[2] for part, why in search.problems.items()} == {
        "container box-007 is not watched": '"http://127.0.0.1:1003": leads to the same server as backends.box-003.url;'
        " each needs its own",
        "container box-200 is not watched": '"general": is the name of another target too; each needs its own',
    }


async def test_who_has_too_many_is_told_that_not_all_are_looked_at(search: Search) -> None:
    boxes = [box(f"box-{number:03}", 1000 + number) for number in range(MOST)]

    await search.look(*boxes)
    told = search.problems.get("docker.discover")
    await search.look(*boxes[1:])

    assert told == "so many containers have the label that only the 256 oldest are looked at"
    assert "docker.discover" not in search.problems


async def test_labels_of_any_length_disturb_nobody_and_flood_no_page(search: Search) -> None:
    flood = Labelled(name="six", labels={ENABLE: "true", **{f"{PREFIX}key{each}": "x" for each in range(1000)}})

    assert await search.look(box("one", 2), box("two", 3, port="9" * 5000), flood) == ["one@one"]

    two, six = (search.problems[f"container {name} is not watched"] for name in ("two", "six"))
    assert two.endswith("must be a port inside the container, e.g. 8080")
    assert six.startswith(f'label {PREFIX}key0 = "x": is not a key for labels')
    assert (six[-1], len(six)) == ("…", MOST_TOLD)


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10.0):
        while not holds():  # noqa: ASYNC110 - a look has no event of its own
            await asyncio.sleep(0.02)
