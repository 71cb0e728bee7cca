"""Look into a target before something is done to it: keep the evidence, which dies with it, and name the cause.

Joins what engine, host and history offer. Nothing here may hold an act up for long, and nothing that fails here keeps
it from being done.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from loguru import logger

from supervisor.core.cause import Cause, Diagnosis, shortened
from supervisor.core.diagnose import diagnose
from supervisor.core.liveness import iso
from supervisor.core.observations import EngineSeen
from supervisor.core.recording import to_json
from supervisor.core.statements import Statement
from supervisor.engines.base import Description, Engine
from supervisor.errors import SupervisorError
from supervisor.messages import Case
from supervisor.probes.base import GpuMemory
from supervisor.redact import redacted
from supervisor.room import its_gpu

WITHIN_S = 2.0  # for all that is asked, at the same time
LOG_BYTES = 16_384
LOG_LINES = 1000  # no engine is asked for more
T = TypeVar("T")


class Memories(Protocol):
    """Tells of the memory of this host's GPUs."""

    async def memory(self) -> tuple[GpuMemory, ...] | None:
        """Return what each GPU holds; None where nobody can be asked."""
        ...


class Evidence(Protocol):
    """Keeps evidence where it survives us."""

    async def keep_evidence(self, incident: str, target: str, bundle: Mapping[str, Any], /) -> None:
        """Keep one bundle."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What could be seen of a target; `seen` is the engine's last word, and `errors` say what could not be seen."""

    seen: EngineSeen | None
    description: Description
    log: str
    gpus: tuple[GpuMemory, ...] | None
    errors: list[str]


class Examiner:
    """Looks into one target."""

    def __init__(
        self,
        name: str,
        *,
        engine_name: str,
        engine: Engine,
        host: Memories,
        store: Evidence,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._engine_name = engine_name
        self._engine = engine
        self._host = host
        self._store = store
        self._clock = clock

    async def examine(self, case: Case, seen: EngineSeen | None) -> Diagnosis:
        """Keep what can be seen of it now, and return what is the matter with it; `seen` is the engine's last word."""
        errors: list[str] = []
        description, log, gpus = await asyncio.gather(
            self._asked(self._engine.describe(self._engine_name), Description(), errors),
            self._asked(self._engine.log_tail(self._engine_name, max_bytes=LOG_BYTES), "", errors),
            self._asked(self._host.memory(), None, errors),
        )
        found = Found(seen=seen, description=description, log=log, gpus=gpus, errors=errors)
        diagnosis = self._diagnosis(case, found)
        if case.incident:
            await self._keep(case, found, diagnosis)
        return diagnosis

    async def _asked(self, question: Coroutine[Any, Any, T], or_else: T, errors: list[str]) -> T:
        try:
            async with asyncio.timeout(WITHIN_S):
                return await question
        except SupervisorError as error:
            errors.append(str(error))
        except TimeoutError:
            errors.append(f"no answer within {WITHIN_S:g}s")
        except Exception as error:  # noqa: BLE001 - what hangs must not live on for a fault of ours
            errors.append(_words(error))
        return or_else

    def _diagnosis(self, case: Case, found: Found) -> Diagnosis:
        seen = found.seen
        try:
            gpu = its_gpu(found.gpus, found.description.facts) if found.gpus and seen and seen.uses_gpu else None
            return diagnose(
                judgement=case.judgement,
                engine=seen,
                engine_error="",
                log_tail=found.log,
                gpu_used_bytes=None if gpu is None else gpu.used_bytes,
                gpu_total_bytes=None if gpu is None else gpu.total_bytes,
                is_detached=found.description.is_detached,
            )
        except Exception as error:  # noqa: BLE001 - as above; who cannot name the cause forbids no restart
            logger.opt(exception=error).error("{}: our own diagnosis failed", self._name)
            found.errors.append(_words(error))
            says = shortened(case.judgement.message)
            return Diagnosis(cause=Cause.UNKNOWN, says=says, cure="", helps_restart=True)

    async def _keep(self, case: Case, found: Found, diagnosis: Diagnosis) -> None:
        try:
            await self._store.keep_evidence(case.incident, self._name, self._bundle(case, found, diagnosis))
        except Exception as error:  # noqa: BLE001 - as above
            found.errors.append(_words(error))
            logger.error("{}: the evidence could not be kept: {}", self._name, found.errors[-1])

    def _bundle(self, case: Case, found: Found, diagnosis: Diagnosis) -> dict[str, Any]:
        judgement, seen, description = case.judgement, found.seen, found.description
        return {
            "taken_at": iso(datetime.now(UTC)),
            "target": self._name,
            "instance": case.instance,
            "verdict": str(judgement.verdict),
            "reason": judgement.reason,
            "message": judgement.message,
            "diagnosis": {**asdict(diagnosis), "cause": str(diagnosis.cause)},
            "statements": [_statement(each, now=case.as_of) for each in judgement.statements],
            "seen": None if seen is None else {**asdict(seen), "life": str(seen.life)},
            "engine": dict(description.facts),
            "processes": [dict(each) for each in description.processes],
            "gpu": [asdict(gpu) for gpu in found.gpus or ()],
            "log": redacted(found.log, is_cut=_is_cut(found.log)),
            "errors": found.errors,
            "observations": to_json(case.recording, now=case.as_of),
            "policy": asdict(case.policy),
        }


def _words(error: Exception) -> str:
    """Return what a fault says that nobody foresaw: its words alone are often but a key or a number."""
    return f"{type(error).__name__}: {error}"


def _is_cut(log: str) -> bool:
    """Whether the beginning of a log may be missing, and with it what its first line belongs to."""
    return len(log.encode(errors="replace")) >= LOG_BYTES or log.count("\n") >= LOG_LINES


def _statement(said: Statement, *, now: float) -> dict[str, Any]:
    age_s = None if said.since is None else round(max(0.0, now - said.since), 1)
    return {"witness": str(said.witness), "says": said.says, "age_s": age_s}
