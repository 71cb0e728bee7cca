"""The paragraph that a tired person reads: true, whole, and with what comes next."""

from dataclasses import replace
from typing import Any

import pytest

from supervisor.core.events import Verb
from supervisor.core.observations import EngineSeen, Life, Reply
from supervisor.core.state import FIRST, Phase
from supervisor.core.story import OPENINGS, story
from supervisor.core.story_why import REASONS
from supervisor.core.verdict import Judgement, Verdict
from tests.core.telling import HUNG, NOW, READY, judged, snapshot, told, told_of
from tests.core.timeline import IDLE, STOPPED, Moment

LOADING = Moment(counters=Reply.LOADING, canary=Reply.LOADING)


def test_every_phase_and_every_verdict_has_its_words() -> None:
    assert set(OPENINGS) == set(Phase)
    assert set(REASONS) == set(Verdict)


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("verdict", Verdict)
def test_every_story_is_a_paragraph_of_whole_sentences(phase: Phase, verdict: Verdict) -> None:
    paragraph = told(phase, judged(verdict))

    assert paragraph.startswith("general is ")
    assert paragraph.endswith(".")
    assert "  " not in paragraph
    assert ". ." not in paragraph
    assert "None" not in paragraph


def test_a_ready_server_says_what_proves_it() -> None:
    proven = {"answered_at": 988.0, "first_token_s": 0.041, "worked_at": 995.0, "traffic_ok_at": 997.0}

    assert told(Phase.UP, READY, **proven) == (
        "general is up, and has been for 10 s. It gave a real answer to our canary 12 s ago, with the first token after"
        " 41 ms. Its slots were last seen at work 5 s ago. A router reports a real answer 3 s ago. Routers use it like"
        " any other."
    )


def test_a_report_of_long_ago_is_not_worth_a_sentence() -> None:
    assert "router reports" not in told(Phase.UP, READY, answered_at=988.0, traffic_ok_at=900.0)


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({"traffic_failures": 1}, "Routers report a failure."),
        ({"traffic_failures": 2, "traffic_detail": "timeout after 30 s"}, "report 2 failures: timeout after 30 s."),
    ],
)
def test_what_routers_report_is_told(known: dict[str, Any], words: str) -> None:
    assert words in told(Phase.UP, READY, **known)


def test_restarts_are_remembered_while_they_count() -> None:
    assert "We restarted it twice in the last 30 min, last 50 s ago." in told(
        Phase.UP, READY, restarts=(-900.0, 100.0, 950.0)
    )


def test_a_starting_server_says_how_much_time_it_has() -> None:
    paragraph = told_of(*[LOADING] * 40)

    assert "it says that it is loading its model. It has 4 min 20 s left of its startup limit of 5 min" in paragraph


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({}, "Its present life began 2 min ago, and it has not answered yet. It has 3 min left"),
        ({"started_at": 600.0}, "It is past its startup limit of 5 min."),
        (
            {"engine": None, "instance": None, "old_instance": "4f1e"},
            "It was restarted 1 min 40 s ago, and its new life has not been seen yet. It has 3 min 20 s left",
        ),
        (
            {"engine": EngineSeen(life=Life.RESTARTING)},
            "Its engine is restarting it by its own policy, and we stay out of that.",
        ),
    ],
)
def test_a_start_is_told_by_its_stage(known: dict[str, Any], words: str) -> None:
    assert words in told(Phase.STARTING, judged(Verdict.WARMING), **known)


def test_a_sleeping_server_is_left_asleep() -> None:
    paragraph = told(Phase.ASLEEP, judged(Verdict.ASLEEP), is_asleep=True)

    assert "we do not wake it. Routers use it with weight 0.7; whoever asks first waits until its model" in paragraph


def test_what_an_operator_stopped_stays_so_and_the_way_back_is_named() -> None:
    paragraph = told_of(*[IDLE] * 5, *[STOPPED] * 3)

    assert "Stopped by the operator. We leave it so: what somebody stopped, only somebody starts." in paragraph
    assert paragraph.endswith("To start it: benchai-supervisorctl start general.")


def test_what_does_not_exist_must_be_made() -> None:
    missing = judged(Verdict.STOPPED, "Missing", "its engine has nothing of that name")

    paragraph = told(Phase.STOPPED, missing)
    assert "It is watched as soon as it is there." in paragraph
    assert "somebody stopped" not in paragraph
    assert paragraph.endswith("Create it, or correct its name in settings.toml.")


@pytest.mark.parametrize(("asked", "words"), [(Verb.RESTART, "(the operator asked for it)"), (None, "(we decided it)")])
def test_what_is_under_way_says_who_wanted_it(asked: Verb | None, words: str) -> None:
    restarting = told(Phase.RESTARTING, HUNG, asked=asked, since=NOW)

    assert restarting.startswith("general is being restarted, since just now. It counts as hung: counters silent, cpu")
    assert f"That is under way {words}, and nothing is judged until it ends." in restarting


def test_a_second_restarter_is_named_and_what_each_does() -> None:
    both = EngineSeen(life=Life.RUNNING, instance="life-1", restart_policy="unless-stopped")

    paragraph = told(Phase.UP, READY, engine=both)

    assert "Its engine restarts it too when it exits (restart policy unless-stopped): we stay out while" in paragraph


def test_one_restarter_alone_is_not_worth_a_word() -> None:
    assert "restart policy" not in told(Phase.UP, READY, engine=EngineSeen(life=Life.RUNNING, instance="life-1"))


def test_our_own_blindness_is_ours_and_restarts_nobody() -> None:
    blind = judged(Verdict.UNKNOWN, "CannotLook", "we cannot look: too many open files")

    paragraph = told(Phase.UP, blind, blind_detail="too many open files")

    assert "We cannot look at it: too many open files. That is our trouble and says nothing about the" in paragraph
    assert "Nobody is restarted on such grounds. Routers use it like any other." in paragraph
    assert paragraph.endswith("Look into the supervisor's log for what it lacks.")


def test_our_own_lateness_is_told_with_what_to_do() -> None:
    late = snapshot(Phase.UP, judged(Verdict.UNKNOWN, "SupervisorLate", "our own loop is late"))

    paragraph = story(replace(late, as_of=NOW - 40), now=NOW)

    assert "Our own loop has not looked at it for 40 s: that is the supervisor's fault" in paragraph
    assert paragraph.endswith("Look into the supervisor's log, then restart the supervisor; its targets run on.")


def test_what_nobody_has_looked_at_is_not_known() -> None:
    assert told(Phase.UNKNOWN, FIRST) == (
        "general is not known yet, and has been for 10 s. Not looked at yet. Routers use it with weight 0.5."
    )


def test_one_that_flaps_must_prove_itself_more() -> None:
    words = (
        "It has been in and out of trouble in the last 10 min, so it must answer 2 times in a row before it is"
        " trusted again."
    )

    assert words in told(Phase.SUSPECT, READY, troubles=(700.0, 800.0, 900.0))
    assert words not in told(Phase.SUSPECT, READY, troubles=(900.0,))


@pytest.mark.parametrize(
    ("phase", "judgement", "known", "words"),
    [
        (Phase.FAILED, HUNG, {}, 'It is watched only (engine = "none"), so nobody here can restart it.'),
        (Phase.SUSPECT, judged(Verdict.SUSPECT), {}, "so nobody here would restart it."),
    ],
)
def test_what_is_only_watched_is_for_a_person_to_restart(
    phase: Phase, judgement: Judgement, known: dict[str, Any], words: str
) -> None:
    paragraph = told(phase, judgement, restartable=False, **known)

    assert words in paragraph
    assert "benchai-supervisorctl restart" not in paragraph


def test_a_suspect_whose_engine_cannot_be_asked_is_not_restarted() -> None:
    paragraph = told(Phase.SUSPECT, judged(Verdict.SUSPECT), silent_since=900.0, engine_detail="no such socket")

    assert "Its engine cannot be asked (no such socket), so it is not restarted." in paragraph


def test_a_spell_at_its_very_end_is_decided_at_the_next_look() -> None:
    hanging = {"silent_since": 980.0, "cpu_idle_since": 980.0, "readable_ever": True}

    assert "If nothing moves at the next look, it is restarted as hung." in told(
        Phase.SUSPECT, judged(Verdict.SUSPECT), **hanging
    )


def test_a_router_is_not_told_of_as_if_routers_used_it() -> None:
    router = replace(snapshot(Phase.UP, READY, answered_at=990.0), kind="router")

    assert "Routers" not in story(router, now=NOW)


def test_a_refusal_that_names_its_cure_is_given_no_other() -> None:
    refused = 'the canary is refused: it takes no pictures: give it its projector (--mmproj), or set canary = "chat"'
    judgement = Judgement(verdict=Verdict.MISCONFIGURED, reason="CanaryDenied", message=refused)

    words = story(snapshot(Phase.FAILED, judgement), now=NOW)

    assert "A person must mend it." in words
    assert "api_key" not in words
