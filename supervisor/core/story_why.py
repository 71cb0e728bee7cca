"""Say why a target is believed to be what it is: the middle of its story. Pure words, made of the evidence alone.

Both directions matter: why it is taken for hung, and why it is not although it is slow.
"""

from collections.abc import Callable

from supervisor.core.durations import ago, lasting, took
from supervisor.core.evidence import Evidence
from supervisor.core.liveness import Snapshot
from supervisor.core.observations import Life, Reply, Slot
from supervisor.core.statements import WITHOUT_SLOTS, share
from supervisor.core.verdict import Quiet, Verdict, quiet

FRESH_S = 60.0  # a router's report that is older is not worth a sentence


def why(snapshot: Snapshot, *, now: float) -> list[str]:
    """Return the sentences that say what the present verdict rests on."""
    return [sentence for sentence in REASONS[snapshot.state.judgement.verdict](snapshot, now) if sentence]


def sentence(words: str) -> str:
    """Return a phrase as a sentence."""
    return f"{words[:1].upper()}{words[1:]}".rstrip(".: ") + "."


def spell(snapshot: Snapshot, *, now: float) -> Quiet | None:
    """Return the present spell without proof of life, which grows worse as it lasts."""
    return quiet(snapshot.evidence, policy=snapshot.policy, now=now)


def _ready(snapshot: Snapshot, now: float) -> list[str]:
    evidence = snapshot.evidence
    said = []
    if evidence.answered_at is not None:
        first = "" if evidence.first_token_s is None else f", with the first token after {took(evidence.first_token_s)}"
        said.append(f"It gave a real answer to our canary {ago(now - evidence.answered_at)}{first}.")
    if evidence.worked_at is not None:
        said.append(f"Its slots were last seen at work {ago(now - evidence.worked_at)}.")
    return [*said, _traffic(evidence, now)]


def _busy(snapshot: Snapshot, now: float) -> list[str]:
    evidence = snapshot.evidence
    waiting = [_queue(evidence), _traffic(evidence, now)]
    if present := spell(snapshot, now=now):
        return [sentence(f"{_stands(evidence, present, now)}, so it is working and not hung"), *waiting]
    if evidence.is_moving:
        moved = "" if evidence.worked_at is None else f", and its counters moved {ago(now - evidence.worked_at)}"
        return [sentence(f"{doing(evidence)}{moved}: it is working and not hung"), *waiting]
    if evidence.last_reply is Reply.OVERLOADED:
        return ["It says that it has too much to do, which only a living server says.", *waiting]
    if evidence.burning_since is None:
        return [*_told(snapshot, now), *waiting]
    lasted = lasting(now - evidence.burning_since)
    return [
        f"It has burned CPU for {lasted}, so it is taken to be at work; a canary could cut off its users.",
        *waiting,
    ]


def _warming(snapshot: Snapshot, now: float) -> list[str]:
    evidence = snapshot.evidence
    if evidence.engine is not None and evidence.engine.life is Life.RESTARTING:
        return ["Its engine is restarting it by its own policy, and we stay out of that."]
    if evidence.instance is None and evidence.old_instance is not None:
        return [f"It was restarted {ago(now - evidence.seen_at)}, and its new life has not been seen yet."]
    begun = f"Its present life began {ago(now - evidence.started_at)}"
    if evidence.loading_since is not None:
        return [f"{begun}; it says that it is loading its model."]
    return [f"{begun}, and it has not answered yet."]


def _asleep(_: Snapshot, __: float) -> list[str]:
    return ["It has put its model away because nobody asked for it, as it was told to; we do not wake it."]


def _suspect(snapshot: Snapshot, now: float) -> list[str]:
    evidence = snapshot.evidence
    present = spell(snapshot, now=now)
    if evidence.failures and present is None:
        return _failing(snapshot, now)
    if present is None or evidence.refusals:
        return [sentence(snapshot.state.judgement.message), _traffic(evidence, now)]
    return [sentence(f"{_stands(evidence, present, now)}: that may be a hang"), _traffic(evidence, now)]


def _hung(snapshot: Snapshot, now: float) -> list[str]:
    evidence = snapshot.evidence
    present = spell(snapshot, now=now)
    if present is None:
        return [sentence(f"it counts as hung: {snapshot.state.judgement.message}")]
    told = f"{_stands(evidence, present, now)}: a server at work would have moved by now"
    return [sentence(told), _traffic(evidence, now)]


def _failing(snapshot: Snapshot, now: float) -> list[str]:
    evidence = snapshot.evidence
    count = f"its last {evidence.failures} answers were" if evidence.failures > 1 else "its last answer was"
    return [sentence(f"{count} bad: {snapshot.state.judgement.message}"), _traffic(evidence, now)]


def _told(snapshot: Snapshot, _: float) -> list[str]:
    return [sentence(snapshot.state.judgement.message)]


def _misconfigured(snapshot: Snapshot, now: float) -> list[str]:
    return [*_told(snapshot, now), "It runs and answers, so a restart would change nothing."]


def _degraded(snapshot: Snapshot, now: float) -> list[str]:
    evidence, message = snapshot.evidence, snapshot.state.judgement.message
    if snapshot.state.judgement.reason == "Slow":
        last = ", ".join(map(took, evidence.lately_s))
        return [f"It answers, but far later than it used to: {message} (its last ones: {last}). It is slow, not hung."]
    since = "" if evidence.leaked_since is None else f", and has been for {lasting(now - evidence.leaked_since)}"
    return [sentence(f"it answers, but {message}{since}"), "It does part of its work, so it is not hung."]


def _unknown(snapshot: Snapshot, now: float) -> list[str]:
    judgement, evidence = snapshot.state.judgement, snapshot.evidence
    if judgement.reason == "SupervisorLate":
        return [
            f"Our own loop has not looked at it for {lasting(now - snapshot.as_of)}: that is the supervisor's fault and"
            " says nothing about the target."
        ]
    if evidence.blind_detail:
        return [
            f"We cannot look at it: {evidence.blind_detail}. That is our trouble and says nothing about the target."
        ]
    return [sentence(judgement.message)]


REASONS: dict[Verdict, Callable[[Snapshot, float], list[str]]] = {
    Verdict.READY: _ready,
    Verdict.BUSY: _busy,
    Verdict.WARMING: _warming,
    Verdict.DEGRADED: _degraded,
    Verdict.ASLEEP: _asleep,
    Verdict.SUSPECT: _suspect,
    Verdict.HUNG: _hung,
    Verdict.FAILING: _failing,
    Verdict.DOWN: _told,
    Verdict.MISCONFIGURED: _misconfigured,
    Verdict.STOPPED: _told,
    Verdict.UNKNOWN: _unknown,
}


def _stands(evidence: Evidence, present: Quiet, now: float) -> str:
    """Describe a spell without progress: what stands, for how long, and what CPU and GPU did meanwhile."""
    if present.reason == "CountersStanding":
        still = f"{doing(evidence)}; its counters last moved {ago(now - present.since)}"
    elif present.reason == "CountersSilent":
        still = f"its counters have been silent for {lasting(now - present.since)}"
    else:
        sent_at = present.since if evidence.waiting_since is None else evidence.waiting_since
        although = "" if evidence.is_working or not evidence.slots else f" although {doing(evidence)}"
        still = f"our canary has been unanswered for {lasting(now - sent_at)}{although}"
    return f"{still}, and {_meanwhile(evidence, now)}"


def _meanwhile(evidence: Evidence, now: float) -> str:
    if evidence.waits_for_disk:
        return "a thread of it waits for a disk or a network share"
    if evidence.cpu_idle_since is not None:
        return f"its CPU has been idle for {lasting(now - evidence.cpu_idle_since)}"
    if evidence.cpu_burned and evidence.measured_s > 0:
        gpu = f" and uses {evidence.gpu_share:.2g} of a GPU" if evidence.gpu_share else ""
        return f"it has burned {share(evidence.burned_s, evidence.measured_s)} since{gpu}"
    return "what its GPU does is not known" if evidence.gpu_is_unknown else "what its CPU does is not known"


def doing(evidence: Evidence) -> str:
    """Say what its slots were doing at the last readable look."""
    slots = evidence.slots
    busy = [slot for slot in slots if slot.busy and slot not in evidence.leaked]
    if evidence.kind in WITHOUT_SLOTS:
        return "it has requests at work" if busy else "it has no request at work"
    if len(slots) == 1:
        return f"its one slot is {_far(busy[0])}" if busy else "its one slot is idle"
    if len(busy) == 1:
        return f"one of its {len(slots)} slots is {_far(busy[0])}"
    return (
        f"{len(busy)} of its {len(slots)} slots are at work" if busy else f"none of its {len(slots)} slots is at work"
    )


def _far(slot: Slot) -> str:
    if slot.is_reading:
        return "reading a prompt" + (f" ({slot.prefilled} tokens so far)" if slot.prefilled else "")
    return f"at work ({slot.decoded} tokens decoded so far)"


def _queue(evidence: Evidence) -> str:
    if not evidence.queued:
        return "Whoever asks now waits for a slot." if evidence.is_saturated else ""
    return "1 request waits its turn." if evidence.queued == 1 else f"{evidence.queued} requests wait their turn."


def _traffic(evidence: Evidence, now: float) -> str:
    if evidence.traffic_failures:
        what = "a failure" if evidence.traffic_failures == 1 else f"{evidence.traffic_failures} failures"
        return f"Routers report {what}" + (f": {evidence.traffic_detail}." if evidence.traffic_detail else ".")
    if evidence.traffic_ok_at is not None and now - evidence.traffic_ok_at < FRESH_S:
        return f"A router reports a real answer {ago(now - evidence.traffic_ok_at)}."
    return ""
