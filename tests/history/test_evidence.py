"""What was seen of an incident, in files: whole, private, bounded, and found under the name the incident has today."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from supervisor.history.bundles import MOST_BYTES
from supervisor.history.evidence import MOST_BYTES as MOST_IN_ALL
from supervisor.history.evidence import MOST_FOLDERS
from tests.history.kept import NOW, edit, incident, opened

OWN, SHARED = "20261123-120000-general", "20261123-115958-code"


def names(folder: Path) -> list[str]:
    """Return what lies in a folder, and below."""
    return sorted(str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file())


def numbers(told: dict[str, Any] | None) -> list[int]:
    assert told is not None
    return [each["number"] for each in told["evidence"]]


async def test_an_incident_is_told_with_its_evidence_oldest_first(tmp_path: Path) -> None:
    async with opened(tmp_path / "history.sqlite") as store:
        await store.keep_incident(incident(OWN), now=NOW)
        await store.keep_evidence(OWN, "general", {"number": 1, "log": "a\nb", "at": None})
        await store.keep_evidence(OWN, "general-1", {"number": 2})
        await store.keep_evidence(OWN, "general", {"number": 3})
        told = await store.incident(OWN)

    assert told is not None
    assert told["evidence"] == [{"number": 1, "log": "a\nb", "at": None}, {"number": 2}, {"number": 3}]
    files = ["general-1-1.json", "general-1.json", "general-2.json"]
    assert names(tmp_path / "incidents") == [f"{OWN}/{name}" for name in files]


async def test_nobody_else_may_read_what_servers_have_said(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        async with opened(tmp_path / "history.sqlite") as store:
            await store.keep_evidence(OWN, "general", {})
    finally:
        os.umask(before)

    folder = tmp_path / "incidents"
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / OWN, folder / OWN / "general-1.json")]
    assert modes == [0o700, 0o700, 0o600]


async def test_of_a_target_the_first_and_the_latest_are_kept(tmp_path: Path) -> None:
    async with opened(tmp_path / "history.sqlite") as store:
        await store.keep_incident(incident(OWN), now=NOW)
        for number in range(1, 12):
            await store.keep_evidence(OWN, "general", {"number": number})
        told = await store.incident(OWN)

    assert numbers(told) == [1, 8, 9, 10, 11]


async def test_a_file_is_never_larger_than_it_may_be(tmp_path: Path) -> None:
    async with opened(tmp_path / "history.sqlite") as store:
        await store.keep_incident(incident(OWN), now=NOW)
        await store.keep_evidence(OWN, "general", {"number": 1, "log": "x" * (2 * MOST_BYTES)})
        told = await store.incident(OWN)

    assert told is not None
    assert told["evidence"][0]["cut"].startswith("it was larger than 256 KiB")
    assert (tmp_path / "incidents" / OWN / "general-1.json").stat().st_size <= MOST_BYTES


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "/etc", ".hidden", "a\n", "a\0b", "ü", "x" * 129, "-rf"]
)
async def test_a_name_that_is_no_safe_file_name_is_refused(tmp_path: Path, name: str) -> None:
    async with opened(tmp_path / "state" / "history.sqlite") as store:
        (tmp_path / "state").mkdir()
        with pytest.raises(ValueError, match="cannot be the name of a file"):
            await store.keep_evidence(name, "general", {})
        with pytest.raises(ValueError, match="cannot be the name of a file"):
            await store.keep_evidence(OWN, name, {})
        unharmed = await store.incident(name)

    assert unharmed is None
    assert not (tmp_path / "state" / "incidents").exists()


async def test_a_name_in_an_edited_row_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "general-1.json").write_text('{"secret": 1}')
    (tmp_path / "state").mkdir()
    path = tmp_path / "state" / "history.sqlite"
    async with opened(path) as store:
        await store.keep_incident(incident(OWN), now=NOW)
        edit(path, "UPDATE incidents SET id = '../../secrets'")
        told = await store.incident("../../secrets")
        await store.keep_incident(incident(OWN), now=NOW, instead_of="../../secrets")
        renamed = await store.incident(OWN)

    assert told is not None
    assert renamed is not None
    assert (told["evidence"], renamed["evidence"]) == ([], [])
    assert names(tmp_path / "secrets") == ["general-1.json"]


async def test_a_trouble_that_turns_out_to_be_shared_takes_its_evidence_along(tmp_path: Path) -> None:
    async with opened(tmp_path / "history.sqlite") as store:
        await store.keep_incident(incident(SHARED, target="code"), now=NOW)
        await store.keep_evidence(SHARED, "code", {"number": 1})
        await store.keep_incident(incident(OWN), now=NOW)
        await store.keep_evidence(OWN, "general", {"number": 2})
        await store.keep_evidence(OWN, "general", {"number": 3})
        await store.keep_incident(incident(SHARED), now=NOW, instead_of=OWN)
        told = await store.incident(SHARED)

    assert numbers(told) == [1, 2, 3]
    assert names(tmp_path / "incidents") == [
        f"{SHARED}/{each}-{n}.json" for each, n in (("code", 1), ("general", 1), ("general", 2))
    ]
    assert not (tmp_path / "incidents" / OWN).exists()


async def test_evidence_that_comes_late_follows_its_incident_to_its_new_name(tmp_path: Path) -> None:
    """To gather it takes seconds, and meanwhile others fail."""
    async with opened(tmp_path / "history.sqlite") as store:
        await store.keep_incident(incident(SHARED, target="code"), now=NOW)
        await store.keep_incident(incident(OWN), now=NOW)
        await store.keep_incident(incident(SHARED), now=NOW, instead_of=OWN)
        await store.keep_evidence(OWN, "general", {"number": 1})
        told = await store.incident(SHARED)

    assert numbers(told) == [1]


async def test_evidence_that_a_death_left_under_the_old_name_is_fetched_later(tmp_path: Path) -> None:
    async with opened(tmp_path / "history.sqlite") as store:
        await store.keep_evidence(SHARED, "general", {"number": 1})
        await store.keep_incident(incident(SHARED), now=NOW, instead_of=OWN)
        (tmp_path / "incidents" / SHARED).rename(tmp_path / "incidents" / OWN)
        await store.keep_incident(incident(SHARED, closed_at=NOW), now=NOW)
        told = await store.incident(SHARED)

    assert numbers(told) == [1]


async def test_what_is_carried_along_comes_after_what_is_there_and_overwrites_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path / "history.sqlite") as store:
        for number in range(1, 4):
            await store.keep_evidence(SHARED, "general", {"number": number})
        for number in range(4, 8):
            await store.keep_evidence(OWN, "general", {"number": number})
        await store.keep_evidence(OWN, "vision", {"number": 99})
        await store.keep_incident(incident(SHARED), now=NOW, instead_of=OWN)
        told = await store.incident(SHARED)

    assert numbers(told) == [1, 4, 5, 6, 7]
    assert names(tmp_path / "incidents" / OWN) == ["vision-1.json"]


async def test_what_cannot_be_read_as_evidence_is_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "incidents" / OWN
    async with opened(tmp_path / "history.sqlite") as store:
        await store.keep_incident(incident(OWN), now=NOW)
        for number in range(1, 4):
            await store.keep_evidence(OWN, "general", {"number": number})
        (folder / "general-1.json").write_bytes(b'{"half": "\xf0')
        (folder / "general-2.json").write_text("[1]")
        (folder / "code-1.json").write_text(json.dumps({"long": "x" * MOST_BYTES}))
        (folder / "code-2.json").write_text("[" * 100_000)
        (folder / "code-3.json").mkdir()
        (folder / "notes.txt").write_text("a person's")
        told = await store.incident(OWN)

    assert numbers(told) == [3]


async def test_what_a_death_left_half_written_is_not_read_and_not_in_the_way(tmp_path: Path) -> None:
    async with opened(tmp_path / "history.sqlite") as store:
        await store.keep_incident(incident(OWN), now=NOW)
        await store.keep_evidence(OWN, "general", {"number": 1})
        half = tmp_path / "incidents" / OWN / ".general-2.json.new"
        half.write_text('{"number": 2, "log": "to be contin')
        told = await store.incident(OWN)
        await store.keep_evidence(OWN, "general", {"number": 3})
        later = await store.incident(OWN)

    assert (numbers(told), numbers(later)) == ([1], [1, 3])
    assert not half.exists()


def lay(root: Path, number: int, *, size_bytes: int = 2) -> None:
    """Lay down what an incident of long ago left, the lowest number the oldest."""
    folder = root / f"trouble-{number}"
    folder.mkdir(parents=True)
    with (folder / "code-1.json").open("wb") as file:
        file.truncate(size_bytes)
    os.utime(folder, (number, number))


async def test_the_oldest_incidents_evidence_goes_first_and_an_open_ones_never(tmp_path: Path) -> None:
    root = tmp_path / "incidents"
    for number in range(MOST_FOLDERS + 3):
        lay(root, number)
    async with opened(tmp_path / "history.sqlite") as store:
        await store.keep_incident(incident("trouble-0", target="code"), now=NOW)
        await store.keep_incident(incident("trouble-1", closed_at=NOW), now=NOW)
        await store.keep_incident(incident(OWN), now=NOW)
        await store.keep_evidence(OWN, "general", {})

    left = {each.name for each in root.iterdir()}
    assert left == {OWN, "trouble-0", *(f"trouble-{number}" for number in range(5, MOST_FOLDERS + 3))}
    assert len(left) == MOST_FOLDERS


async def test_all_evidence_together_stays_bounded(tmp_path: Path) -> None:
    root = tmp_path / "incidents"
    for number in range(8):
        lay(root, number, size_bytes=MOST_IN_ALL // 5)
    async with opened(tmp_path / "history.sqlite") as store:
        await store.keep_evidence(OWN, "general", {})

    assert {each.name for each in root.iterdir()} == {OWN, "trouble-4", "trouble-5", "trouble-6", "trouble-7"}


async def test_what_was_just_written_is_kept_however_much_there_is_of_open_troubles(tmp_path: Path) -> None:
    root = tmp_path / "incidents"
    async with opened(tmp_path / "history.sqlite") as store:
        for number in (1, 2):
            await store.keep_incident(incident(f"trouble-{number}", target=f"t{number}"), now=NOW)
            lay(root, number, size_bytes=MOST_IN_ALL)
        await store.keep_evidence(OWN, "general", {})

    assert {each.name for each in root.iterdir()} == {OWN, "trouble-1", "trouble-2"}


async def test_what_people_put_beside_the_evidence_is_theirs(tmp_path: Path) -> None:
    root = tmp_path / "incidents"
    lay(root, 1, size_bytes=MOST_IN_ALL + 1)
    (root / "my notes").mkdir()
    (root / "my notes" / "todo.txt").write_text("ask about the GPU")
    (root / "README").write_text("mine")
    os.utime(root / "my notes", (0, 0))
    async with opened(tmp_path / "history.sqlite") as store:
        await store.keep_evidence(OWN, "general", {})

    assert names(root) == [f"{OWN}/general-1.json", "README", "my notes/todo.txt"]
