"""A router is held to what its backends answer directly: whose fault a bad answer is, and what to ask for next."""

from dataclasses import replace

import pytest

from supervisor.core.baseline import Baseline
from supervisor.core.evidence import Evidence
from supervisor.core.fold import take
from supervisor.core.observations import CanaryEnded, CanarySent, EngineSeen, Life, Reply
from supervisor.core.policy import Policy
from supervisor.core.routed import Direct, Directs, behind, limit_s, next_alias, weigh
from supervisor.core.statements import statements
from supervisor.core.verdict import Verdict, judge

NOW = 1000.0
POLICY = Policy()
WELL = Direct(models=("general",), answered_at=NOW - 5)
HUNG = Direct(models=("code",), ill="is suspect itself")
TOWN: Directs = {"general": WELL, "planner": replace(WELL, models=("planner", "research")), "code": HUNG}
BAD = [Reply.FAILED, Reply.INVALID, Reply.SILENT, Reply.DENIED, Reply.OVERLOADED, Reply.RESET]


def ended(reply: Reply, detail: str = "") -> CanaryEnded:
    return CanaryEnded(instance="one", attempt=1, reply=reply, detail=detail)


def weighed(
    reply: Reply, alias: str, town: Directs = TOWN, *, detail: str = "", doubted_at: float | None = None
) -> CanaryEnded:
    return weigh(ended(reply, detail), alias, town, doubted_at=doubted_at)


def choice(aliases: tuple[str, ...], last: str | None, town: Directs, *, quiet_s: float = 15.0) -> str | None:
    return next_alias(aliases, last, town, policy=POLICY, quiet_s=quiet_s, now=NOW)


@pytest.mark.parametrize("reply", BAD)
def test_what_fails_through_the_router_and_not_directly_is_the_routers(reply: Reply) -> None:
    seen = weighed(reply, "general", detail="status 500")

    assert seen.reply is reply
    assert seen.detail == "general: status 500, and general answers directly"


@pytest.mark.parametrize("reply", BAD)
def test_what_its_backend_may_do_no_better_directly_is_excused(reply: Reply) -> None:
    seen = weighed(reply, "code")

    assert seen.reply is Reply.EXCUSED
    assert seen.detail == f"code: {reply}, but code is suspect itself"


@pytest.mark.parametrize("reply", [Reply.ANSWERED, Reply.REFUSED, Reply.NOT_RUN])
def test_no_backend_has_a_part_in_an_answer_or_in_a_router_that_is_not_there(reply: Reply) -> None:
    assert weighed(reply, "code").reply is reply


@pytest.mark.parametrize(
    ("answered_at", "reply"), [(NOW - 29.9, Reply.SILENT), (NOW - 30.0, Reply.EXCUSED), (None, Reply.EXCUSED)]
)
def test_in_doubt_only_what_was_proven_directly_since_counts(answered_at: float | None, reply: Reply) -> None:
    town = {"general": replace(WELL, answered_at=answered_at)}

    assert weighed(Reply.SILENT, "general", town, doubted_at=NOW - 30.0).reply is reply


@pytest.mark.parametrize(("reply", "is_excused"), [(Reply.SILENT, False), (Reply.FAILED, True)])
def test_who_does_not_run_refuses_at_once_and_keeps_no_router_waiting(reply: Reply, is_excused: bool) -> None:
    twin = Direct(models=("general",), ill="is failed itself", is_gone=True)

    assert (weighed(reply, "general", {"general": WELL, "twin": twin}).reply is Reply.EXCUSED) is is_excused


def test_where_all_are_gone_nobody_could_have_answered() -> None:
    gone = {"general": Direct(models=("general",), ill="is stopped itself", is_gone=True)}

    assert weighed(Reply.SILENT, "general", gone).detail == "general: silent, but none of its backends could answer"
    assert weighed(Reply.SILENT, "auto", {}).reply is Reply.EXCUSED


def test_an_alias_that_no_backend_has_may_be_answered_by_any_of_them() -> None:
    assert set(behind("auto", TOWN)) == {"general", "planner", "code"}
    assert weighed(Reply.SILENT, "auto").reply is Reply.EXCUSED
    assert weighed(Reply.SILENT, "auto", {"general": WELL, "code": replace(WELL, models=("code",))}).detail == (
        "auto: silent, and general, code answer directly"
    )


def test_every_alias_has_its_turn() -> None:
    aliases = ("general", "planner", "research")

    asked = [choice(aliases, last, TOWN) for last in (None, "general", "planner", "research", "gone")]

    assert asked == ["general", "planner", "research", "general", "general"]


def test_an_alias_whose_backend_is_ill_is_passed_over_and_one_with_a_twin_that_is_well_is_not() -> None:
    assert choice(("general", "code", "planner"), "general", TOWN) == "planner"
    assert choice(("code",), None, {**TOWN, "twin": replace(WELL, models=("code",))}) == "code"


@pytest.mark.parametrize(("quiet_s", "asked"), [(59.9, None), (60.0, "code")])
def test_where_none_could_answer_the_router_is_asked_seldom_to_see_whether_it_is_there(
    quiet_s: float, asked: str | None
) -> None:
    assert choice(("code",), None, TOWN, quiet_s=quiet_s) == asked


def test_an_alias_whose_users_may_come_back_waits_for_one_that_loses_nothing() -> None:
    used = replace(WELL, users_at=NOW - 100, keeps=True)

    assert choice(("general", "planner"), None, {**TOWN, "general": used}) == "planner"


@pytest.mark.parametrize(("age_s", "asked"), [(59.0, None), (60.0, "planner")])
def test_where_all_have_users_the_one_whose_are_longest_gone_is_asked_once_the_router_is_quiet(
    age_s: float, asked: str | None
) -> None:
    used = replace(WELL, users_at=NOW - age_s, keeps=True)
    town = {"general": used, "planner": replace(used, models=("planner",), users_at=NOW - 200)}

    assert choice(("general", "planner"), None, town) == asked


def test_users_of_long_ago_are_no_reason_to_wait() -> None:
    used = replace(WELL, users_at=NOW - POLICY.spare_s, keeps=True)

    assert choice(("general",), None, {"general": used}) == "general"


@pytest.mark.parametrize(("users_at", "asked"), [(None, None), (NOW - 121, None), (NOW - 119, "general")])
def test_a_server_that_should_fall_asleep_is_asked_through_no_router_long_after_its_users(
    users_at: float | None, asked: str | None
) -> None:
    town = {"general": replace(WELL, sleeps=True, users_at=users_at)}

    assert choice(("general",), None, town, quiet_s=3600.0) == asked


def test_a_router_has_as_long_as_its_backends_and_as_they_take_to_be_found_out() -> None:
    quick = replace(POLICY, canary_deadline_s=1.0)

    assert limit_s("general", TOWN, policy=POLICY) == POLICY.canary_deadline_s
    assert limit_s("general", TOWN, policy=quick) == 3 * POLICY.tick_s + POLICY.look_timeout_s
    assert limit_s("general", {"general": replace(WELL, deadline_s=100.0)}, policy=POLICY) == 100.0


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
        ([Reply.ANSWERED, Reply.SILENT, Reply.EXCUSED, Reply.SILENT, Reply.SILENT], Verdict.HUNG),
        ([Reply.ANSWERED, Reply.SILENT, Reply.ANSWERED, Reply.SILENT, Reply.SILENT], Verdict.SUSPECT),
        ([Reply.ANSWERED, Reply.RESET, Reply.RESET, Reply.RESET], Verdict.FAILING),
        ([Reply.ANSWERED, Reply.REFUSED, Reply.REFUSED], Verdict.SUSPECT),  # until its engine has looked again
        ([Reply.ANSWERED, *[Reply.EXCUSED] * 9], Verdict.READY),
        ([Reply.EXCUSED], Verdict.UNKNOWN),
    ],
)
def test_a_router_is_judged_by_rounds_of_which_an_excuse_is_none(replies: list[Reply], verdict: Verdict) -> None:
    evidence = relay(*replies)

    assert judge(evidence, policy=POLICY, now=len(replies) * 30.0 + 20).verdict is verdict


def test_a_canary_through_a_router_is_no_overdue_one_before_its_round_is_over() -> None:
    evidence = take(relay(Reply.ANSWERED), CanarySent(instance="one", attempt=2), policy=POLICY, now=100.0)

    assert judge(evidence, policy=POLICY, now=100.0 + POLICY.canary_deadline_s).verdict is Verdict.READY


def test_a_router_that_has_only_just_begun_is_given_time_to_find_its_backends() -> None:
    young = EngineSeen(life=Life.RUNNING, instance="one", age_s=3.0)
    evidence = take(relay(Reply.FAILED, Reply.FAILED, Reply.FAILED), young, policy=POLICY, now=111.0)
    evidence = replace(evidence, started_at=100.0)

    assert judge(evidence, policy=POLICY, now=112.0).verdict is Verdict.WARMING


def test_a_router_with_models_of_its_own_pace_each_is_never_called_slow() -> None:
    usual = Baseline(first_tokens_s=(0.1,) * 50)
    slow = replace(relay(Reply.ANSWERED), lately_s=(9.0, 9.0, 9.0))

    assert judge(slow, policy=POLICY, baseline=usual, now=60.0).verdict is Verdict.READY


def test_an_excuse_is_told() -> None:
    says = [each.says for each in statements(relay(Reply.ANSWERED, Reply.EXCUSED), now=90.0)]

    assert "excused: general: its words" in says
