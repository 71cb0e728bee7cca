"""What is remembered of one life, and what our own absence does to it."""

from dataclasses import replace

from supervisor.core.evidence import Evidence
from supervisor.core.fold import forgive
from supervisor.core.observations import CanarySent, ProgressSeen, Reply
from tests.core.timeline import BLIND, FROZEN_AT_WORK, FROZEN_IDLE, IDLE, NOW, WORKING, Moment, Played


def test_time_in_which_we_stood_still_ourselves_is_held_against_nobody() -> None:
    played = Played().play([IDLE, WORKING, *[FROZEN_AT_WORK] * 7])
    much_later = played.now + 3600.0

    played.evidence = forgive(played.evidence, now=much_later)
    played.now = much_later
    played.play([FROZEN_AT_WORK] * 6)

    assert played.acts == []


def test_what_was_under_way_before_our_absence_is_measured_from_its_end() -> None:
    before = replace(
        Evidence(seen_at=NOW),
        silent_since=NOW,
        standing_since=NOW,
        canary_since=NOW,
        loading_since=NOW,
        cpu_idle_since=NOW,
        cpu_burned=False,
        refusals=1,
    )

    after = forgive(before, now=NOW + 100.0)

    since = {after.seen_at, after.silent_since, after.standing_since, after.canary_since, after.loading_since}
    assert since == {NOW + 100.0}
    assert (after.cpu_idle_since, after.cpu_burned, after.refusals) == (None, None, 0)


def test_nothing_begins_by_our_absence() -> None:
    before = Evidence(seen_at=NOW)

    assert forgive(before, now=NOW + 100.0) == replace(before, seen_at=NOW + 100.0)


def test_a_new_life_begins_with_nothing_but_the_count_of_attempts() -> None:
    played = Played().play([IDLE, FROZEN_IDLE, FROZEN_IDLE])
    attempt = played.evidence.canary_attempt
    played.life += 1

    played._see(played._engine(IDLE))

    assert played.evidence.instance == "life-2"
    assert played.evidence.canary_attempt == attempt
    assert (played.evidence.silent_since, played.evidence.answered_at, played.evidence.canary_since) == (
        None,
        None,
        None,
    )


def test_we_can_look_again_once_any_probe_has_come_back() -> None:
    played = Played().play([IDLE, BLIND, IDLE])

    assert played.evidence.blind_detail == ""


def test_a_canary_that_we_could_not_send_is_no_answer_and_no_failure() -> None:
    played = Played().play([Moment(canary=Reply.NOT_RUN)])

    assert played.evidence.blind_detail
    assert (played.evidence.failures, played.evidence.last_reply, played.evidence.canary_since) == (0, None, None)


def test_a_canary_sent_into_silence_does_not_start_the_measure_of_idleness_anew() -> None:
    played = Played().play([IDLE, *[FROZEN_IDLE] * 3])
    idle_since = played.evidence.cpu_idle_since

    played._see(CanarySent(instance="life-1", attempt=99))

    assert idle_since is not None
    assert played.evidence.cpu_idle_since == idle_since


def test_counters_that_say_something_else_are_no_silence() -> None:
    played = Played().play([IDLE])

    played._see(ProgressSeen(instance="life-1", reply=Reply.INVALID))

    assert played.evidence.silent_since is None
    assert played.evidence.slots == ()
