"""What each witness says of a target, in a phrase, with the time since when: what a verdict rests on.

Pure, and it judges nothing: a statement tells what was seen, never what that means. No phrase holds a duration of its
own (`since` does), nor a word that a user wrote: a router's `error` is quoted as it came, and its client is told to
keep such words out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from supervisor.core.durations import took
from supervisor.core.evidence import Evidence
from supervisor.core.observations import EngineSeen, Kind, Life, Reply, Slot

REMEMBERED_S = 600.0  # what a router reported longer ago tells nothing of today
WITHOUT_COUNTERS = frozenset({Kind.LLAMA_CPP_PYTHON, Kind.OLLAMA, Kind.OTHER})
WITHOUT_SLOTS = frozenset({Kind.VLLM, Kind.SGLANG, Kind.TGI})  # shown to us as one slot that stands for all of them
TENTH = 0.1


class Witness(StrEnum):
    """A source of evidence."""

    ENGINE = "engine"
    PROGRESS = "progress"
    CPU = "cpu"
    GPU = "gpu"
    TRAFFIC = "traffic"
    CANARY = "canary"
    OURSELVES = "ourselves"


Phrases = Iterator[tuple[str, float | None]]  # each with the time since when


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One witness's word; `since` is monotonic seconds, None where it has no beginning."""

    witness: Witness
    says: str
    since: float | None = None


def statements(evidence: Evidence, *, now: float) -> tuple[Statement, ...]:
    """Return what every witness says who has something to say."""
    heard: list[tuple[Witness, Phrases]] = [(Witness.ENGINE, _engine(evidence))]
    is_there = evidence.instance is not None or evidence.old_instance is None
    if is_there and (evidence.engine is None or evidence.engine.life is Life.RUNNING):
        # What was seen of one that runs no more is true no more.
        heard += [
            (Witness.PROGRESS, _progress(evidence)),
            (Witness.CPU, _cpu(evidence)),
            (Witness.GPU, _gpu(evidence)),
        ]
    heard += [
        (Witness.TRAFFIC, _traffic(evidence, now=now)),
        (Witness.CANARY, _canary(evidence)),
        (Witness.OURSELVES, _ourselves(evidence)),
    ]
    return tuple(
        Statement(witness=witness, says=says, since=since) for witness, phrases in heard for says, since in phrases
    )


def share(burned_s: float, over_s: float) -> str:
    """Say how much of a core was burned."""
    cores = burned_s / over_s
    if cores < TENTH:
        return f"{cores:.2f} of a core"
    return f"{cores:.1f} of a core" if cores <= 1 else f"{cores:.1f} cores"


def _engine(evidence: Evidence) -> Phrases:
    if evidence.engine_detail:
        yield f"cannot be asked: {evidence.engine_detail}", None
    if evidence.engine is not None:
        yield _life(evidence.engine), evidence.started_at if _is_known_to_run(evidence.engine) else None
    elif not evidence.engine_detail:
        yield ("shows no new life yet" if evidence.old_instance else "has not told us yet"), evidence.seen_at


def _is_known_to_run(engine: EngineSeen) -> bool:
    return engine.life is Life.RUNNING and engine.instance is not None


def _life(engine: EngineSeen) -> str:
    match engine.life:
        case Life.CREATED:
            return "created, and not started yet"
        case Life.EXITED:
            return _exited(engine)
        case Life.PAUSED:
            return "paused"
        case Life.RESTARTING:
            return "restarting it by its own policy"
        case Life.MISSING:
            return "has nothing of that name"
        case Life.RUNNING if engine.stopped_by_operator:
            return "being stopped by the operator"
        case Life.RUNNING:
            return "running" if engine.instance else "there is none: this target is watched only"


def _exited(engine: EngineSeen) -> str:
    if engine.instance is None:
        told = "never started"
    else:
        told = "exited" if engine.exit_code is None else f"exited with code {engine.exit_code}"
    if engine.oom_killed:
        told = f"{told}, killed for using too much memory"
    if engine.stopped_by_operator:
        told = f"{told}, stopped by the operator"
    return f"{told}{_detail(engine.detail)}"


def _progress(evidence: Evidence) -> Phrases:
    if evidence.is_asleep:
        yield "asleep", None
    elif evidence.loading_since is not None:
        yield "says that it is loading its model", evidence.loading_since
    elif evidence.refusals:
        tries = "once" if evidence.refusals == 1 else f"{evidence.refusals} times in a row"
        yield f"nothing accepts connections on its port, tried {tries}", evidence.refused_since
    elif evidence.silent_since is not None:
        before = f"; before: {_at_work(evidence)}" if evidence.slots else ""
        yield f"counters silent{before}", evidence.silent_since
    elif evidence.slots:
        yield _counters(evidence)
    elif evidence.kind in WITHOUT_COUNTERS:
        yield f"no counters to read ({evidence.kind})", None
    else:
        yield "no counters seen", None
    if evidence.leaked_since is not None:
        yield _stuck(evidence), evidence.leaked_since
    if evidence.queued:
        yield f"{evidence.queued} request{'' if evidence.queued == 1 else 's'} waiting", None


def _counters(evidence: Evidence) -> tuple[str, float | None]:
    doing = _at_work(evidence)
    if evidence.standing_since is not None:
        return f"{doing}, counters stand still", evidence.standing_since
    if evidence.is_working and evidence.worked_at is not None:
        return f"{doing}, counters moved", evidence.worked_at
    return doing, evidence.idle_since


def _at_work(evidence: Evidence) -> str:
    slots = evidence.slots
    busy = [slot for slot in slots if slot.busy and slot not in evidence.leaked]
    if evidence.kind in WITHOUT_SLOTS:
        return "requests at work" if busy else "no request at work"
    if not busy:
        return _idle(slots)
    if len(busy) > 1:
        return f"{len(busy)} of {len(slots)} slots at work"
    return f"slot {busy[0].id} of {len(slots)} at work, {_far(busy[0])}"


def _idle(slots: tuple[Slot, ...]) -> str:
    idle = sum(not slot.busy for slot in slots)
    if idle < len(slots):
        return f"{idle} of {len(slots)} slots idle"
    return "its slot is idle" if idle == 1 else f"all {idle} slots idle"


def _far(slot: Slot) -> str:
    if slot.is_reading:
        return f"reading its prompt, {slot.prefilled} tokens so far" if slot.prefilled else "reading its prompt"
    return f"{slot.decoded} token{'' if slot.decoded == 1 else 's'} decoded"


def _stuck(evidence: Evidence) -> str:
    stuck = sorted(slot.id for slot in evidence.leaked)
    which = f"slot {stuck[0]} stands" if len(stuck) == 1 else f"slots {', '.join(map(str, stuck))} stand"
    return f"{which} at work without moving while others answer" if stuck else "a slot stands while others answer"


def _cpu(evidence: Evidence) -> Phrases:
    if evidence.waits_for_disk:
        yield "a thread of it waits for a disk or a network share", None
    if evidence.cpu_idle_since is not None:
        yield "idle", evidence.cpu_idle_since
    elif evidence.measured_s > 0:
        yield f"burning {share(evidence.burned_s, evidence.measured_s)} over the spell", None
    elif evidence.cpu_burned is not None:
        yield ("burning" if evidence.cpu_burned else "quiet"), evidence.burning_since
    elif evidence.silent_since is not None or evidence.standing_since is not None:
        yield "not known", None


def _gpu(evidence: Evidence) -> Phrases:
    if evidence.gpu_is_unknown:
        yield "it uses one, and what it does there is not known", None
    if evidence.gpu_share is not None:
        yield ("idle" if evidence.gpu_share == 0 else f"{evidence.gpu_share:.2g} of a GPU"), None


def _traffic(evidence: Evidence, *, now: float) -> Phrases:
    if evidence.traffic_ok_at is not None and now - evidence.traffic_ok_at < REMEMBERED_S:
        first_s = evidence.traffic_first_token_s
        first = "" if first_s is None else f", first token after {took(first_s)}"
        yield f"a real request was answered{first}", evidence.traffic_ok_at
    if evidence.traffic_failures:
        count = "1 failure" if evidence.traffic_failures == 1 else f"{evidence.traffic_failures} failures"
        yield f"{count} reported{_detail(evidence.traffic_detail)}", evidence.traffic_failed_at


def _canary(evidence: Evidence) -> Phrases:
    if evidence.waiting_since is not None:
        yield "unanswered", evidence.waiting_since
    if evidence.failures:
        count = "a bad answer" if evidence.failures == 1 else f"{evidence.failures} bad answers in a row"
        yield f"{count}{_detail(evidence.last_detail)}", evidence.canary_ended_at
    elif evidence.last_reply is not None and evidence.last_reply is not Reply.ANSWERED:
        yield _not_answered(evidence.last_reply, evidence.last_detail), evidence.canary_ended_at
    if evidence.answered_at is not None:
        which = "answered" if evidence.waiting_since is None else "an earlier one answered"
        first = "" if evidence.first_token_s is None else f", first token after {took(evidence.first_token_s)}"
        yield f"{which}{first}", evidence.answered_at


def _not_answered(reply: Reply, detail: str) -> str:
    match reply:
        case Reply.DENIED:
            return f"refused{_detail(detail)}"
        case Reply.OVERLOADED:
            return "told that the server has too much to do"
        case Reply.LOADING:
            return "told that the model is loading"
        case Reply.REFUSED | Reply.RESET:
            return "found nobody listening"
        case Reply.EXCUSED:
            return f"excused{_detail(detail)}"
        case Reply.SILENT:
            return "an earlier one was never answered"
        case _:
            return f"ended as {reply}{_detail(detail)}"


def _ourselves(evidence: Evidence) -> Phrases:
    if evidence.blind_detail:
        yield f"cannot look: {evidence.blind_detail}", None


def _detail(words: str) -> str:
    return f": {words}" if words else ""
