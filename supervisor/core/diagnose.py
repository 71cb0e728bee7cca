"""Say what went wrong with a target, and what would help: by its exit, its engine's words and the end of its log.

Pure. What is told exactly wins over what is told in general, what is at hand over what is long past, and what nobody
can tell stays unknown.
"""

from dataclasses import replace

from supervisor.core.cause import STANDING, Cause, Diagnosis, Finding, shortened, size
from supervisor.core.cause_engine import read_engine
from supervisor.core.cause_logs import had_come_up, read_log
from supervisor.core.cause_signs import CORRECT_FLAGS, FREE_VRAM
from supervisor.core.observations import EngineSeen, Life
from supervisor.core.verdict import Judgement, Verdict

# As Linux numbers them on the machines that model servers run on.
SIGNALS = {
    1: "SIGHUP",
    2: "SIGINT",
    3: "SIGQUIT",
    4: "SIGILL",
    5: "SIGTRAP",
    6: "SIGABRT",
    7: "SIGBUS",
    8: "SIGFPE",
    9: "SIGKILL",
    11: "SIGSEGV",
    13: "SIGPIPE",
    14: "SIGALRM",
    15: "SIGTERM",
    24: "SIGXCPU",
    25: "SIGXFSZ",
    31: "SIGSYS",
}
# A fault of one's own never ends in these: somebody sent them.
SENT = frozenset({"SIGHUP", "SIGINT", "SIGQUIT", "SIGKILL", "SIGTERM"})
KILLED_BY = 128  # the exit code of what signal n ended is 128 + n
LAST_SIGNAL = 64
CANNOT_RUN = frozenset({126, 127})  # as shells and engines say that there is no such program, or none that may be run
FOUND_DEAD = 255  # what an engine notes of a container that it finds dead because it was killed itself
FULL_SHARE = 0.97  # of a GPU's memory: what then is left is too little for any model

GONE = frozenset({Life.CREATED, Life.EXITED, Life.RESTARTING})
# A server that is judged so has not shown what it can do: its log may tell why it could not start.
UNBORN = frozenset({"NeverReady", "NoNewInstance", "NotListening"})
# What a server that runs may suffer from; the rest it would have died of.
WHILE_RUNNING = frozenset(
    {Cause.OUT_OF_VRAM, Cause.OOM_KILLED, Cause.GPU_LOST, Cause.MODEL_MISSING, Cause.MODEL_CORRUPT}
)

SEE_WHO_KILLED = (
    "see who sent it: another supervisor, a `pkill`, or the kernel for want of memory (`journalctl -k` tells)"
)
GIVE_MEMORY = "if it comes again, raise its memory limit (of the container or unit), or take a smaller model or context"
CORRECT_SETTINGS = "correct the target's key, path, model name or kind of canary in settings.toml, or its chat template"
START_THE_ENGINE = "see what the engine is at (`systemctl status docker`), and start it again if it does not recover"


def diagnose(
    *,
    judgement: Judgement,
    engine: EngineSeen | None,
    engine_error: str,
    log_tail: str,
    gpu_used_bytes: int | None = None,
    gpu_total_bytes: int | None = None,
    is_detached: bool = False,
) -> Diagnosis:
    """Return what went wrong with a target that is judged to be in need of something.

    `engine_error` is how the engine refused our last call, empty if it did not; `log_tail` is what the target printed
    last, in this life and earlier ones; `is_detached`: it is on no network although it was made to be on one.
    """
    is_gone = engine is not None and engine.life in GONE
    diagnosis = (
        _by_engine_words(engine, engine_error)
        or _by_absence(judgement, engine, is_detached=is_detached)
        or (_by_exit(engine, log_tail) if engine and is_gone else _by_verdict(judgement, log_tail))
    )
    if gpu_used_bytes is None or not gpu_total_bytes:
        return diagnosis
    return _with_gpu(diagnosis, used_bytes=gpu_used_bytes, total_bytes=gpu_total_bytes, is_gone=is_gone)


def refused(words: str) -> Diagnosis | None:
    """Return what an engine's refusal of our call tells; None where its words tell nothing."""
    finding = read_engine(words)
    return _told(finding) if finding else None


def _by_engine_words(engine: EngineSeen | None, engine_error: str) -> Diagnosis | None:
    if finding := read_engine(engine_error):
        return _told(finding)
    # What the engine keeps of a failed start is void once a later one has succeeded.
    if engine and engine.life is Life.EXITED and (finding := read_engine(engine.detail)):
        return _told(finding)
    return None


def _by_absence(judgement: Judgement, engine: EngineSeen | None, *, is_detached: bool) -> Diagnosis | None:
    if engine is None and judgement.verdict is not Verdict.UNKNOWN:
        return Diagnosis(
            cause=Cause.ENGINE_LOST, says="its engine tells nothing of it", cure=START_THE_ENGINE, helps_restart=False
        )
    if engine and engine.life is Life.MISSING:
        cure = "create it (`docker compose up -d`, or its unit file), or correct its name in settings.toml"
        return Diagnosis(cause=Cause.UNKNOWN, says=judgement.message, cure=cure, helps_restart=False)
    if engine and engine.life is Life.RUNNING and is_detached:
        cure = "connect it again by `docker network connect`, or create it anew (`docker compose up -d`)"
        return Diagnosis(
            cause=Cause.NETWORK_DETACHED, says="it is on no network any more", cure=cure, helps_restart=False
        )
    return None


def _by_exit(engine: EngineSeen, log_tail: str) -> Diagnosis:
    code, name = engine.exit_code, signal_of(engine.exit_code)
    if engine.signalled:
        says = f"ended by {engine.signalled} ({code}), which the operator had us send"
        return Diagnosis(cause=Cause.SIGNALLED, says=says, cure="", helps_restart=True, signal=engine.signalled)
    if engine.oom_killed:
        says = "killed for using more memory than it may"
        return Diagnosis(cause=Cause.OOM_KILLED, says=says, cure=GIVE_MEMORY, helps_restart=True, signal=name)
    if name in SENT:
        says = f"ended by {name} ({code}), sent by somebody past its engine"
        return Diagnosis(
            cause=Cause.KILLED_FROM_OUTSIDE, says=says, cure=SEE_WHO_KILLED, helps_restart=True, signal=name
        )
    finding = read_log(log_tail, is_up=False)
    if finding and finding.cause is Cause.CRASHED:
        return _hinted(finding, how=_how(code, name), signal=name)
    if finding and not finding.is_hint:
        return replace(_told(finding), signal=name)
    if code in CANNOT_RUN:
        says = f"its command cannot be run ({code})"
        return Diagnosis(cause=Cause.BAD_FLAG, says=says, cure=CORRECT_FLAGS, helps_restart=False)
    if code == FOUND_DEAD:
        says = "found dead by its engine, which was killed itself (255)"
        return Diagnosis(cause=Cause.ENGINE_LOST, says=says, cure="", helps_restart=True)
    if finding:
        return _hinted(finding, how=_how(code, name), signal=name)
    if code is None or code == 0:
        return _without_error(engine, log_tail)
    return Diagnosis(cause=Cause.CRASHED, says=_how(code, name), cure="", helps_restart=True, signal=name)


def _without_error(engine: EngineSeen, log_tail: str) -> Diagnosis:
    if engine.exit_code == 0 and had_come_up(log_tail):
        # No model server leaves for no reason once it serves.
        says = "ended in good order (0), as it does when told to: somebody did, past its engine"
        return Diagnosis(cause=Cause.KILLED_FROM_OUTSIDE, says=says, cure=SEE_WHO_KILLED, helps_restart=True)
    how = "it does not run" if engine.exit_code is None else "ended by itself, without an error (0)"
    says = shortened(f"{how}: {engine.detail}" if engine.detail else how)
    return Diagnosis(cause=Cause.UNKNOWN, says=says, cure="", helps_restart=True)


def _by_verdict(judgement: Judgement, log_tail: str) -> Diagnosis:
    """Diagnose a target that runs and does not work."""
    is_unborn = judgement.reason in UNBORN
    finding = read_log(log_tail, is_up=not is_unborn)
    if finding and not finding.is_hint and (is_unborn or finding.cause in WHILE_RUNNING):
        # What it lacks it may be holding itself.
        frees = finding.cause in (Cause.OUT_OF_VRAM, Cause.OOM_KILLED) and not is_unborn
        return replace(_told(finding), helps_restart=frees or _told(finding).helps_restart)
    if judgement.verdict is Verdict.MISCONFIGURED:
        says = shortened(judgement.message)
        return Diagnosis(cause=Cause.UNKNOWN, says=says, cure=CORRECT_SETTINGS, helps_restart=False)
    after = f", after {finding.says}" if finding and finding.cause is Cause.CRASHED else ""
    says = shortened(f"{judgement.message}{after}")
    return Diagnosis(cause=_cause(judgement), says=says, cure="", helps_restart=True)


def _cause(judgement: Judgement) -> Cause:
    if judgement.reason in ("NeverReady", "NoNewInstance"):
        return Cause.NEVER_READY
    match judgement.verdict:
        case Verdict.HUNG:
            return Cause.HUNG
        case Verdict.FAILING:
            return Cause.FAILING
        case _:
            return Cause.UNKNOWN


def _with_gpu(diagnosis: Diagnosis, *, used_bytes: int, total_bytes: int, is_gone: bool) -> Diagnosis:
    """Add what is free on the GPU, where that is the matter."""
    could_not_load = is_gone and diagnosis.cause is Cause.NEVER_READY
    if could_not_load and used_bytes >= FULL_SHARE * total_bytes:
        diagnosis = replace(diagnosis, cause=Cause.OUT_OF_VRAM, cure=FREE_VRAM, helps_restart=False)
    if diagnosis.cause is not Cause.OUT_OF_VRAM:
        return diagnosis
    free = f"{size(max(0, total_bytes - used_bytes))} of {size(total_bytes)} are free"
    return replace(diagnosis, says=shortened(f"{diagnosis.says}; {free}"))


def _told(finding: Finding) -> Diagnosis:
    return Diagnosis(
        cause=finding.cause,
        says=finding.says,
        cure=finding.cure,
        helps_restart=finding.helps_restart or (finding.cause not in STANDING and not finding.cure),
    )


def _hinted(finding: Finding, *, how: str, signal: str | None) -> Diagnosis:
    helps = finding.helps_restart or finding.cause not in STANDING
    return replace(_told(finding), says=shortened(f"{how}: {finding.says}"), helps_restart=helps, signal=signal)


def _how(code: int | None, name: str | None) -> str:
    if name:
        return f"exited with {name} ({code})"
    return "ended" if code is None else f"exited with code {code}"


def signal_of(code: int | None) -> str | None:
    """Return the name of the signal that an exit code tells of, None where it tells of none."""
    number = (code or 0) - KILLED_BY
    return SIGNALS.get(number, f"signal {number}") if 0 < number <= LAST_SIGNAL else None
