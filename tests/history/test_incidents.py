"""Troubles that outlive us: written down, taken up again, told to people, and bounded."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from supervisor.core.cause import Cause, Diagnosis
from supervisor.core.incident import Ending
from supervisor.core.state import Phase, Transition
from supervisor.history.incidents import KEPT, PRUNED_EVERY
from tests.history.kept import HUNG, NO_VRAM, NOW, ago_s, edit, incident, opened, query

SHARED = "20261123-115958-code"
OWN = "20261123-120000-general"


async def test_a_trouble_that_was_not_over_when_we_died_is_taken_up_as_it_was(tmp_path: Path) -> None:
    ill = incident(diagnosis=NO_VRAM, acted_at=(NOW - 50.0, NOW - 20.0), would_act_at=NOW - 55.0, asked=True)
    async with opened(tmp_path / "history.sqlite") as store:
        await store.keep_incident(ill, now=NOW)

    async with opened(tmp_path / "history.sqlite") as store:
        found = await store.open_incident("general", now=10.0)
        nobody = await store.open_incident("code", now=10.0)

    assert found is not None
    assert found.opened_at == pytest.approx(10.0 - 60.0, abs=5)
    assert found.acted_at == pytest.approx((10.0 - 50.0, 10.0 - 20.0), abs=5)
    assert found.would_act_at == pytest.approx(10.0 - 55.0, abs=5)
    assert replace(found, opened_at=ill.opened_at, acted_at=ill.acted_at, would_act_at=ill.would_act_at) == ill
    assert nobody is None


async def test_a_trouble_that_is_over_is_not_taken_up_again(tmp_path: Path) -> None:
    async with opened(tmp_path / "history.sqlite") as store:
        await store.keep_incident(incident(), now=NOW)
        await store.keep_incident(incident(closed_at=NOW, ending=Ending.ITSELF), now=NOW)

        assert await store.open_incident("general", now=NOW) is None


async def test_a_trouble_that_seems_to_begin_in_the_future_begins_now(tmp_path: Path) -> None:
    """Somebody has set the clock back."""
    async with opened(tmp_path / "history.sqlite") as store:
        await store.keep_incident(incident(acted_at=(NOW,)), now=NOW)
        edit(tmp_path / "history.sqlite", "UPDATE incidents SET opened_at = '2999-01-01T00:00:00Z'")

        found = await store.open_incident("general", now=NOW)

    assert found is not None
    assert found.opened_at == NOW


async def test_an_incident_is_told_with_all_that_is_known_of_it(tmp_path: Path) -> None:
    over = incident(
        diagnosis=NO_VRAM, would_act_at=NOW - 55.0, closed_at=NOW - 5.0, ending=Ending.ITSELF, acted_at=(NOW - 50.0,)
    )
    async with opened(tmp_path / "history.sqlite") as store:
        await store.keep_incident(over, now=NOW)
        told = await store.incident(OWN)
        (listed,) = await store.incidents(target=None, limit=10)

    assert told is not None
    assert told.pop("evidence") == []
    assert told == listed
    (member,) = told["members"]
    assert told["opened_at"] == member["opened_at"]
    assert told["closed_at"] == member["closed_at"]
    times = {key: ago_s(member.pop(key)) for key in ("opened_at", "closed_at", "would_act_at")}
    assert times == pytest.approx({"opened_at": 60.0, "closed_at": 5.0, "would_act_at": 55.0}, abs=5)
    assert ago_s(*member.pop("acted_at")) == pytest.approx(50.0, abs=5)
    cause = {"cause": "out of VRAM", "says": "the GPU has no room for it", "cure": "stop code"}
    assert member == {
        "target": "general",
        "instance": "4f1e@12",
        "ending": "by itself",
        "verdict": "hung",
        "reason": "CountersStanding",
        "message": "no progress, cpu idle",
        **cause,
        "helps_restart": False,
        "was_right_to_wait": None,
    }
    assert {key: told[key] for key in ("id", "targets", *cause)} == {"id": OWN, "targets": ["general"], **cause}


async def test_whether_it_was_right_to_wait_is_told_where_something_held_us_back(tmp_path: Path) -> None:
    async with opened(tmp_path / "history.sqlite") as store:
        for target, ending in (("general", Ending.ITSELF), ("code", Ending.SOMEBODY)):
            over = incident(SHARED, target=target, would_act_at=NOW - 9.0, closed_at=NOW, ending=ending)
            await store.keep_incident(over, now=NOW)
        told = await store.incident(SHARED)

    assert told is not None
    assert [each["was_right_to_wait"] for each in told["members"]] == [True, False]


async def test_a_trouble_of_several_is_open_while_one_of_them_is_ill_and_told_by_who_tells_most(tmp_path: Path) -> None:
    hung = Diagnosis(cause=Cause.HUNG, says="it hangs", cure="", helps_restart=True)
    async with opened(tmp_path / "history.sqlite") as store:
        await store.keep_incident(
            incident(SHARED, target="code", opened_at=NOW - 62.0, diagnosis=hung, closed_at=NOW - 9.0), now=NOW
        )
        await store.keep_incident(incident(SHARED, diagnosis=NO_VRAM), now=NOW)
        ill = await store.incident(SHARED)
        await store.keep_incident(incident(SHARED, diagnosis=NO_VRAM, closed_at=NOW - 3.0), now=NOW)
        well = await store.incident(SHARED)

    assert ill is not None
    assert well is not None
    assert (ill["closed_at"], ill["targets"], ill["cause"]) == (None, ["code", "general"], "out of VRAM")
    assert ago_s(ill["opened_at"]) == pytest.approx(62.0, abs=2)
    assert ago_s(well["closed_at"]) == pytest.approx(3.0, abs=2)


async def test_incidents_are_told_newest_first_no_more_than_asked_for_and_of_whom(tmp_path: Path) -> None:
    async with opened(tmp_path / "history.sqlite") as store:
        await store.keep_incident(incident("1", target="code"), now=NOW)
        await store.keep_incident(incident("2"), now=NOW)
        await store.keep_incident(incident("3", target="code"), now=NOW)
        await store.keep_incident(incident("1"), now=NOW)
        told = {
            (target, limit): [each["id"] for each in await store.incidents(target=target, limit=limit)]
            for target, limit in ((None, 10), (None, 2), ("general", 10), ("nobody", 10))
        }

    assert told == {(None, 10): ["3", "2", "1"], (None, 2): ["3", "2"], ("general", 10): ["2", "1"], ("nobody", 10): []}


async def test_there_is_no_incident_of_an_unknown_name(tmp_path: Path) -> None:
    async with opened(tmp_path / "history.sqlite") as store:
        await store.keep_incident(incident(), now=NOW)

        assert await store.incident("../../etc/passwd") is None


async def test_what_was_written_once_keeps_its_time_though_our_clock_stood_still(tmp_path: Path) -> None:
    async with opened(tmp_path / "history.sqlite") as store:
        ill = incident(acted_at=(NOW - 50.0,), would_act_at=NOW - 55.0)
        await store.keep_incident(ill, now=NOW)
        first = query(tmp_path / "history.sqlite", "SELECT opened_at, acted_at, would_act_at FROM incidents")
        asleep_s = 8 * 3600.0  # as if it had begun so much later
        later = replace(ill, opened_at=ill.opened_at + asleep_s, would_act_at=NOW - 55.0 + asleep_s)
        await store.keep_incident(replace(later, acted_at=(NOW - 50.0 + asleep_s, NOW + asleep_s)), now=NOW + asleep_s)
        told = await store.incident(OWN)

    assert told is not None
    (member,) = told["members"]
    assert ago_s(member["acted_at"][1]) == pytest.approx(0.0, abs=5)
    edit(tmp_path / "history.sqlite", "UPDATE incidents SET acted_at = json_remove(acted_at, '$[1]')")
    after = query(tmp_path / "history.sqlite", "SELECT opened_at, json(acted_at), would_act_at FROM incidents")
    assert after == [(first[0][0], first[0][1].replace(" ", ""), first[0][2])]


async def test_one_that_falls_again_under_the_same_name_begins_anew(tmp_path: Path) -> None:
    async with opened(tmp_path / "history.sqlite") as store:
        await store.keep_incident(incident(acted_at=(NOW - 50.0,), closed_at=NOW - 9.0), now=NOW)
        await store.keep_incident(incident(opened_at=NOW - 4.0), now=NOW)
        told = await store.incident(OWN)
        found = await store.open_incident("general", now=NOW)

    assert told is not None
    assert ago_s(told["opened_at"]) == pytest.approx(4.0, abs=2)
    assert found is not None
    assert found.acted_at == ()


async def test_a_target_is_in_one_trouble_at_a_time(tmp_path: Path) -> None:
    """One whose end was never written down, since the disk was full, is over when the next one begins."""
    async with opened(tmp_path / "history.sqlite") as store:
        await store.keep_incident(incident("1", opened_at=NOW - 600.0), now=NOW)
        await store.keep_incident(incident("2", target="code"), now=NOW)
        await store.keep_incident(incident("3", opened_at=NOW - 40.0), now=NOW)
        found = await store.open_incident("general", now=NOW)
        told = {each["id"]: each["closed_at"] for each in await store.incidents(target=None, limit=10)}

    assert found is not None
    assert found.id == "3"
    assert told["3"] is told["2"] is None
    assert ago_s(told["1"]) == pytest.approx(40.0, abs=2)


async def test_a_trouble_that_turns_out_to_be_shared_goes_by_the_other_name_from_then_on(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    async with opened(path) as store:
        await store.keep_incident(incident(SHARED, target="code"), now=NOW)
        await store.keep_incident(incident(OWN, acted_at=(NOW - 50.0,)), now=NOW)
        await store.keep_incident(incident(SHARED, acted_at=(NOW - 50.0,)), now=NOW, instead_of=OWN)
        await store.keep_incident(incident(SHARED, acted_at=(NOW - 50.0,), closed_at=NOW), now=NOW)
        (listed,) = await store.incidents(target=None, limit=10)
        by_its_old_name = await store.incident(OWN)
        found = await store.open_incident("general", now=NOW)

    assert (listed["id"], listed["targets"], found) == (SHARED, ["code", "general"], None)
    assert by_its_old_name == {**listed, "evidence": []}


async def test_changes_of_phase_go_by_the_name_that_their_trouble_goes_by(tmp_path: Path) -> None:
    change = Transition(before=Phase.UP, after=Phase.BACKOFF, at=NOW, judgement=HUNG)
    async with opened(tmp_path / "history.sqlite") as store:
        await store.record("general", change, instance=None)
        await store.record("general", change, instance=None, incident=OWN)
        await store.record("code", change, instance=None, incident=OWN)
        await store.keep_incident(incident(SHARED), now=NOW, instead_of=OWN)
        told = [await store.transitions(name, limit=10) for name in ("general", "code")]

    assert [[each["incident"] for each in changes] for changes in told] == [[SHARED, None], [OWN]]


async def test_a_name_that_was_never_written_can_be_given_up(tmp_path: Path) -> None:
    async with opened(tmp_path / "history.sqlite") as store:
        await store.keep_incident(incident(SHARED, target="code"), now=NOW)
        await store.keep_incident(incident(SHARED), now=NOW, instead_of=OWN)
        told = await store.incident(OWN)

    assert told is not None
    assert (told["id"], told["targets"]) == (SHARED, ["code", "general"])


async def test_one_that_joins_a_trouble_for_the_second_time_has_one_part_in_it(tmp_path: Path) -> None:
    async with opened(tmp_path / "history.sqlite") as store:
        await store.keep_incident(incident(SHARED, closed_at=NOW - 9.0), now=NOW)
        await store.keep_incident(incident(OWN, opened_at=NOW - 4.0), now=NOW)
        await store.keep_incident(incident(SHARED, opened_at=NOW - 4.0), now=NOW, instead_of=OWN)
        (told,) = await store.incidents(target=None, limit=10)

    assert (told["id"], told["targets"], told["closed_at"]) == (SHARED, ["general"], None)
    assert ago_s(told["opened_at"]) == pytest.approx(4.0, abs=2)


async def test_incidents_stay_bounded_and_one_that_is_open_is_never_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    async with opened(path) as store:
        await store.keep_incident(incident("open long ago", target="code"), now=NOW)
        await store.keep_incident(incident("over long ago", closed_at=NOW), now=NOW)
        _fill(path, rows=KEPT + 3 * PRUNED_EVERY)
        for number in range(PRUNED_EVERY):
            await store.keep_incident(incident(f"new-{number}", closed_at=NOW), now=NOW)
        told = [each["id"] for each in await store.incidents(target=None, limit=10 * KEPT)]
        found = await store.open_incident("code", now=NOW)

    assert KEPT < len(told) <= KEPT + PRUNED_EVERY + 1
    assert told[:PRUNED_EVERY] == [f"new-{number}" for number in reversed(range(PRUNED_EVERY))]
    assert told[-1] == "open long ago"
    assert "over long ago" not in told
    assert found is not None


def _fill(path: Path, *, rows: int) -> None:
    """Write what years of a frail target would."""
    long_ago = "2026-01-01T00:00:00+00:00"
    columns = "id, target, opened_at, closed_at, verdict, reason, message"
    insert = f"INSERT INTO incidents ({columns}) VALUES (?, 'general', ?, ?, 'hung', '', '')"  # noqa: S608
    with closing(sqlite3.connect(path)) as database, database:
        database.executemany(insert, [(f"old-{number}", long_ago, long_ago) for number in range(rows)])


async def test_the_troubles_of_targets_that_are_watched_no_more_are_over(tmp_path: Path) -> None:
    async with opened(tmp_path / "history.sqlite") as store:
        await store.keep_incident(incident(), now=NOW)
        await store.keep_incident(incident(OWN, target="code"), now=NOW)

        await store.close_strangers(("general",))

        assert await store.open_incident("general", now=NOW) is not None
        assert await store.open_incident("code", now=NOW) is None
