"""A router is held to what its backends answer directly: whose fault a bad answer is, and what to ask for next."""

from dataclasses import replace

import pytest

from supervisor.core.evidence import Evidence
from supervisor.core.fold import take
from supervisor.core.observations import CanaryEnded, CanarySent, EngineSeen, Life, Reply
from supervisor.core.policy import Policy
from supervisor.core.routed import Direct, Directs, behind, excuse, limit_s, next_alias, weigh
from supervisor.core.statements import statements
from supervisor.core.verdict import Verdict, judge

NOW = 1000.0
POLICY = Policy()
SOUND = Direct(models=("general",), sound_since=NOW - 500)
HUNG = Direct(models=("code",), why="is suspect itself")
TOWN: Directs = {"general": SOUND, "planner": replace(SOUND, models=("planner", "research")), "code": HUNG}


def ended(reply: Reply, detail: str = "") -> CanaryEnded:
    return CanaryEnded(instance="one", attempt=1, reply=reply, detail=detail)


def choice(aliases: tuple[str, ...], last: str | None, town: Directs, *, in_doubt: bool = False) -> str | None:
    return next_alias(aliases, last, town, in_doubt=in_doubt, policy=POLICY, now=NOW)


@pytest.mark.parametrize("reply", [Reply.FAILED, Reply.INVALID, Reply.SILENT, Reply.DENIED, Reply.OVERLOADED])
def test_what_fails_through_the_router_and_not_directly_is_the_routers(reply: Reply) -> None:
    weighed = weigh(ended(reply, "status 500"), "general", TOWN, sent_at=NOW)

    assert weighed.reply is reply
    assert weighed.detail == "general: status 500, and general answers directly"


@pytest.mark.parametrize("reply", [Reply.FAILED, Reply.INVALID, Reply.SILENT, Reply.DENIED, Reply.RESET])
def test_what_its_backend_does_no_better_directly_is_excused(reply: Reply) -> None:
    weighed = weigh(ended(reply), "code", TOWN, sent_at=NOW)

    assert weighed.reply is Reply.EXCUSED
    assert weighed.detail == f"code: {reply}, but code is suspect itself"


@pytest.mark.parametrize("reply", [Reply.ANSWERED, Reply.REFUSED, Reply.NOT_RUN])
def test_no_backend_has_a_part_in_an_answer_or_in_a_router_that_is_not_there(reply: Reply) -> None:
    assert weigh(ended(reply), "code", TOWN, sent_at=NOW).reply is reply


def test_a_backend_that_was_at_work_since_may_have_kept_the_router_waiting() -> None:
    back = {"general": replace(SOUND, sound_since=NOW + 3)}

    assert excuse("general", back, since=NOW) == "general was at work"


def test_an_alias_that_no_backend_has_may_be_answered_by_any_of_them() -> None:
    assert set(behind("auto", TOWN)) == {"general", "planner", "code"}
    assert excuse("auto", TOWN, since=NOW) == "code is suspect itself"
    assert excuse("auto", {"general": SOUND}, since=NOW) == ""


def test_where_no_backend_is_known_nothing_can_be_told_apart() -> None:
    assert weigh(ended(Reply.SILENT), "auto", {}, sent_at=NOW).detail == "auto: silent, but no backend of it is known"


def test_every_alias_has_its_turn() -> None:
    aliases = ("general", "planner", "research")

    asked = [choice(aliases, last, TOWN) for last in (None, "general", "planner", "research", "gone")]

    assert asked == ["general", "planner", "research", "general", "general"]


def test_an_alias_whose_backend_is_ill_is_passed_over() -> None:
    assert choice(("general", "code", "planner"), "general", TOWN) == "planner"


def test_where_none_could_answer_nothing_is_asked() -> None:
    assert choice(("code",), None, TOWN) is None


def test_in_doubt_the_same_alias_is_asked_for_until_it_is_settled() -> None:
    assert choice(("general", "code"), "code", TOWN, in_doubt=True) == "code"


def test_an_alias_whose_users_may_come_back_waits_for_one_that_loses_nothing() -> None:
    used = replace(SOUND, users_at=NOW - 100, keeps=True)

    assert choice(("general", "planner"), None, {**TOWN, "general": used}) == "planner"


@pytest.mark.parametrize(("age_s", "asked"), [(59.0, None), (60.0, "planner")])
def test_where_all_have_users_the_one_whose_are_longest_gone_is_asked_once_the_router_is_quiet(
    age_s: float, asked: str | None
) -> None:
    used = replace(SOUND, users_at=NOW - age_s, keeps=True)
    town = {"general": used, "planner": replace(used, models=("planner",), users_at=NOW - 200)}

    assert choice(("general", "planner"), None, town) == asked


def test_users_of_long_ago_are_no_reason_to_wait() -> None:
    used = replace(SOUND, users_at=NOW - POLICY.spare_s, keeps=True)

    assert choice(("general",), None, {"general": used}) == "general"


def test_a_backend_has_the_time_to_be_found_out_itself_before_its_router_is_blamed() -> None:
    assert limit_s(POLICY) == POLICY.canary_deadline_s
    assert limit_s(replace(POLICY, canary_deadline_s=1.0)) == 3 * POLICY.tick_s + POLICY.look_timeout_s


# --- what it means ----------------------------------------------------------------------------------------------------


def relay(*replies: Reply) -> Evidence:
    running = EngineSeen(life=Life.RUNNING, instance="one", age_s=900.0)
    evidence = take(Evidence(seen_at=0.0, relays=True), running, policy=POLICY, now=0.0)
    for attempt, reply in enumerate(replies, start=1):
        at = attempt * 30.0
        evidence = take(evidence, CanarySent(instance="one", attempt=attempt), policy=POLICY, now=at)
        seen = CanaryEnded(instance="one", attempt=attempt, reply=reply, detail="general: its words")
        evidence = take(evidence, seen, policy=POLICY, now=at + 20)
    return evidence


@pytest.mark.parametrize(
    ("replies", "verdict"),
    [
        ([Reply.ANSWERED, Reply.SILENT], Verdict.SUSPECT),
        ([Reply.ANSWERED, Reply.SILENT, Reply.SILENT], Verdict.SUSPECT),
        ([Reply.ANSWERED, Reply.SILENT, Reply.SILENT, Reply.SILENT], Verdict.HUNG),
        ([Reply.ANSWERED, Reply.FAILED, Reply.INVALID, Reply.FAILED], Verdict.FAILING),
        ([Reply.ANSWERED, Reply.SILENT, Reply.SILENT, Reply.EXCUSED], Verdict.READY),
        ([Reply.ANSWERED, *[Reply.EXCUSED] * 9], Verdict.READY),
        ([Reply.EXCUSED], Verdict.UNKNOWN),
    ],
)
def test_a_router_is_judged_by_rounds_and_an_excuse_ends_them(replies: list[Reply], verdict: Verdict) -> None:
    evidence = relay(*replies)

    assert judge(evidence, policy=POLICY, now=len(replies) * 30.0 + 20).verdict is verdict


def test_a_canary_through_a_router_is_no_overdue_one_before_its_round_is_over() -> None:
    evidence = take(relay(Reply.ANSWERED), CanarySent(instance="one", attempt=2), policy=POLICY, now=100.0)

    assert judge(evidence, policy=POLICY, now=100.0 + POLICY.canary_deadline_s).verdict is Verdict.READY


def test_an_excuse_is_told() -> None:
    says = [each.says for each in statements(relay(Reply.ANSWERED, Reply.EXCUSED), now=90.0)]

    assert "excused: general: its words" in says
