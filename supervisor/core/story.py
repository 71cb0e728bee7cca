"""Tell a target's story in one paragraph: what it is, why, what was done and comes next, what a person could do.

Pure words for a tired person, made of what is believed and of nothing else; it decides nothing. What it says of the
future is what the thresholds say, as long as nothing changes.
"""

from supervisor.core.durations import ago, lasting
from supervisor.core.liveness import SERVING, Snapshot, weight
from supervisor.core.restraint import Curb, Restraint
from supervisor.core.state import Phase
from supervisor.core.story_next import coming, word_of
from supervisor.core.story_why import why
from supervisor.core.verdict import Verdict

CTL = "benchai-supervisorctl"
OPENINGS = {
    Phase.UNKNOWN: "is not known yet",
    Phase.STARTING: "is starting",
    Phase.UP: "is up",
    Phase.BUSY: "is busy",
    Phase.DEGRADED: "is degraded",
    Phase.ASLEEP: "is asleep",
    Phase.SUSPECT: "is under suspicion",
    Phase.DRAINING: "is being drained",
    Phase.RESTARTING: "is being restarted",
    Phase.BACKOFF: "is out of service",
    Phase.FAILED: "is out of service",
    Phase.STOPPING: "is being stopped",
    Phase.STOPPED: "is stopped",
}
OUT_OF_SERVICE = (Verdict.HUNG, Verdict.FAILING, Verdict.DOWN, Verdict.MISCONFIGURED)
# What a refused canary says of its cause, by the status it was refused with.
CURES = {
    "status 401": "set api_key of this target in settings.toml to the key that the server was started with",
    "status 403": "set api_key of this target in settings.toml to the key that the server was started with",
    "status 404": "check url, canary and canary_model (of a router: models) of this target in settings.toml:"
    " the server has no such path",
    "status 400": "check the server's chat template and canary_model of this target in settings.toml",
    "status 422": "check canary and canary_model of this target in settings.toml",
}
# What a refusal says already of its cure.
WITH_ITS_CURE = ("it does no chat", "it completes no text", "it makes no embeddings", "it takes no pictures")
NO_CURE = "check url, api_key, canary and canary_model of this target in settings.toml, and the server's chat template"


def story(snapshot: Snapshot, *, now: float) -> str:
    """Return the paragraph."""
    sentences = [
        _opening(snapshot, now=now),
        *why(snapshot, now=now),
        _cause_of(snapshot),
        coming(snapshot, now=now),
        _routing(snapshot, now=now),
        _held(snapshot, now=now),
        _end_of_hold(snapshot),
        _past(snapshot, now=now),
        _second_restarter(snapshot),
        _person(snapshot),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _opening(snapshot: Snapshot, *, now: float) -> str:
    state = snapshot.state
    opening = OPENINGS[state.phase]
    if state.phase in (Phase.BACKOFF, Phase.FAILED) and state.judgement.verdict in OUT_OF_SERVICE:
        opening = f"is {state.judgement.verdict} and out of service"
    lasted_s = now - state.since
    lasted = "since just now" if lasted_s < 1 else f"and has been for {lasting(lasted_s)}"
    return f"{snapshot.name} {opening}, {lasted}."


def _cause_of(snapshot: Snapshot) -> str:
    """Say what was found out when somebody looked into it, and what would help."""
    diagnosis = snapshot.state.diagnosis
    if diagnosis is None or not diagnosis.is_news:
        return ""
    cure = f" The cure: {diagnosis.cure.rstrip('.')}." if diagnosis.cure else ""
    return f"The cause, as far as can be told: {diagnosis.says.rstrip('.')}.{cure}"


def _held(snapshot: Snapshot, *, now: float) -> str:
    """Say what people have said, where that does not hold anything up at the moment."""
    held = snapshot.restraint
    if held is None or held.curb is Curb.DRAINED or snapshot.state.restraint is not None:
        return ""
    return f"It is {word_of(held, now=now)}: whatever becomes of it, we do nothing to it."


def _end_of_hold(snapshot: Snapshot) -> str:
    """Say how a person takes back what people have said; of a drain it is told with that."""
    match snapshot.restraint.curb if snapshot.restraint else None:
        case Curb.HELD:
            return f"To end the hold: {CTL} release {snapshot.name}."
        case Curb.PAUSED:
            return f"To end the pause: {CTL} resume."
        case _:
            return ""


def _routing(snapshot: Snapshot, *, now: float) -> str:
    phase = snapshot.state.phase
    if snapshot.drain is not None:
        return _drained(snapshot, snapshot.drain, now=now)
    if snapshot.kind != "backend":
        return ""
    if not phase.is_routable:
        return "Routers do not send to it."
    if phase is Phase.ASLEEP:
        return f"Routers use it with weight {phase.weight:g}; whoever asks first waits until its model is back."
    preferred = weight(snapshot, now=now)
    if snapshot.stands_in_for is not None:
        return f"Routers use it with weight {preferred:g}, and {snapshot.stands_in_for} before it."
    if preferred < phase.weight:
        return f"It has only just recovered, so routers use it with weight {preferred:g} for a while."
    return "Routers use it like any other." if phase is Phase.UP else f"Routers use it with weight {phase.weight:g}."


def _drained(snapshot: Snapshot, drain: Restraint, *, now: float) -> str:
    """Say that a person has taken it out of rotation, and how far that has come."""
    until = "until it is released" if drain.until is None else f"for another {lasting(drain.until - now)}"
    served = ""
    if snapshot.state.phase in SERVING:
        served = "; it serves nobody any more" if snapshot.serves_nobody else "; whoever it still serves may finish"
    return (
        f"It is {drain.message}, {until}: routers do not send to it{served}. Whatever becomes of it, we do nothing to"
        f" it. To put it back: {CTL} release {snapshot.name}."
    )


def _past(snapshot: Snapshot, *, now: float) -> str:
    """Say how often it was restarted lately: a server that is well now may not have been for long."""
    window_s = snapshot.policy.budget_window_s
    lately = [at for at in snapshot.state.restarts if now - at < window_s]
    if not lately:
        return ""
    times = {1: "once", 2: "twice"}.get(len(lately), f"{len(lately)} times")
    we = "We would have restarted" if snapshot.state.noted_at is not None else "We restarted"
    return f"{we} it {times} in the last {lasting(window_s)}, last {ago(now - lately[-1])}."


def _second_restarter(snapshot: Snapshot) -> str:
    """Say that we are not the only one who restarts it: whoever wonders at two restarts should find it here."""
    engine = snapshot.evidence.engine
    if engine is None or engine.restart_policy is None:
        return ""
    return (
        f"Its engine restarts it too when it exits (restart policy {engine.restart_policy}): we stay out while it does,"
        " and act on what it cannot see."
    )


def _person(snapshot: Snapshot) -> str:
    """Say what a person could do; nothing where there is nothing to do."""
    state, name, judgement = snapshot.state, snapshot.name, snapshot.state.judgement
    match judgement.verdict:
        case Verdict.UNKNOWN if judgement.reason == "SupervisorLate":
            return "Look into the supervisor's log, then restart the supervisor; its targets run on."
        case Verdict.UNKNOWN if snapshot.evidence.blind_detail:
            return "Look into the supervisor's log for what it lacks."
        case Verdict.MISCONFIGURED if any(each in judgement.message for each in WITH_ITS_CURE):
            return "A person must mend it."
        case Verdict.MISCONFIGURED:
            return f"A person must mend it: {_cure(judgement.message)}."
        case Verdict.STOPPED if judgement.reason == "Missing":
            return "Create it, or correct its name in settings.toml."
        case Verdict.STOPPED:
            return f"To start it: {CTL} start {name}."
        case _ if state.phase in (Phase.BACKOFF, Phase.FAILED, Phase.SUSPECT) and state.restartable:
            is_known = state.diagnosis is not None and state.diagnosis.is_news
            where = f"The evidence: {CTL} incident show {name}." if is_known else "Its log may tell the cause."
            return f"To restart it without waiting: {CTL} restart {name}. {where}"
        case Verdict.DEGRADED if state.restartable:
            return f"It is not restarted for that; if it does not pass: {CTL} restart {name}."
        case _ if state.phase in (Phase.BACKOFF, Phase.FAILED):
            return "Restart it by hand, and look into its log for the cause."
        case _:
            return ""


def _cure(message: str) -> str:
    return next((cure for status, cure in CURES.items() if status in message), NO_CURE)
