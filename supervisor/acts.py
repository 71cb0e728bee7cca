"""Do one thing to one target: write it down, look once more, look into it, then do it.

It takes no decision but this: nothing that nobody asked for is done to what an operator has meanwhile taken over, nor
where it could not help. Nothing at all is started where there is no room for it (`on_gpu.py`).
"""

import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from loguru import logger

from supervisor.core.actions import Act
from supervisor.core.cause import Diagnosis
from supervisor.core.diagnose import refused
from supervisor.core.events import Ended, Failed, Verb
from supervisor.core.observations import EngineSeen, Life
from supervisor.core.state import WILL_NOT_HELP
from supervisor.engines.base import Engine
from supervisor.errors import EngineRefused, SupervisorError, TargetMissing
from supervisor.examine import Examiner
from supervisor.history import UNUSABLE
from supervisor.history.store import Store
from supervisor.messages import Case
from supervisor.on_gpu import NoRoom, OnGpu
from supervisor.probes.base import Easing

SEE_ITS_LOG = "see what it printed last (`docker logs`): its engine restarts it again and again"
OBSERVED = "only observed"
EASED_WITHIN_S = 15.0  # llama.cpp's router gives a child 10 s to go by itself


class LeftAlone(Exception):
    """What was to be done is not done after all; `outcome` says why."""

    def __init__(self, outcome: Failed) -> None:
        super().__init__(outcome.message)
        self.outcome = outcome


class Acts:
    """Does what is decided about one target."""

    def __init__(
        self,
        name: str,
        *,
        engine_name: str,
        engine: Engine,
        examiner: Examiner,
        store: Store,
        on_gpu: OnGpu | None = None,
        easing: Easing | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Without `on_gpu` nobody asks whether there is room on a GPU; `easing` ends one model inside a server."""
        self._name = name
        self._engine_name = engine_name
        self._engine = engine
        self._examiner = examiner
        self._store = store
        self._on_gpu = on_gpu
        self._easing = easing
        self._leaves = False
        self._clock = clock

    def settle(self, *, easing: Easing | None, given_back_s: float) -> None:
        """Take what the settings say now for what they said before."""
        self._easing = easing
        if self._on_gpu is not None:
            self._on_gpu.given_back_s = given_back_s

    def leave(self) -> None:
        """Do nothing more that nobody asked for; what has been begun goes on."""
        self._leaves = True

    async def do(self, act: Act, case: Case) -> Ended | Failed:
        """Do it, and return how it ended."""
        number = await self._begin(act)
        outcome: Ended | Failed
        diagnosis: Diagnosis | None = None
        try:
            if not act.by_operator and act.verb is Verb.RESTART:
                diagnosis = await self._look_into(act, case)
            self._stay_out_if_leaving(act)
            eased = act.eases and await self._ease()
            if not eased:
                await self._perform(act)
            outcome = Ended(diagnosis=diagnosis, eased=eased)
        except (LeftAlone, NoRoom) as left:
            outcome = left.outcome
        except (EngineRefused, TargetMissing) as error:
            message = f"{act.verb} failed: {error}"
            outcome = Failed(reason=type(error).__name__, message=message, diagnosis=refused(str(error)) or diagnosis)
        except SupervisorError as error:
            # It may have been done all the same: a call that timed out was sent, and counts.
            outcome = Failed(reason=type(error).__name__, message=f"{act.verb} failed: {error}", diagnosis=diagnosis)
        if number is not None:
            told, counts = ("done", act.spends) if isinstance(outcome, Ended) else (outcome.message, outcome.counts)
            await self._write(self._store.end(number, told, counts=counts))
        return outcome

    async def _look_into(self, act: Act, case: Case) -> Diagnosis:
        """Look once more, keep the evidence, and say what the cause is; nobody asked for the act but we.

        Raises:
            LeftAlone: nothing should be done after all.
        """
        seen = await self._hindered(act, case.instance)
        diagnosis = await self._examiner.examine(case, seen)
        if seen.life is Life.RESTARTING:
            # Whatever it dies of: its engine restarts it already, and two of us would help no better than one.
            diagnosis = replace(diagnosis, helps_restart=False, cure=diagnosis.cure or SEE_ITS_LOG)
        if not diagnosis.helps_restart and (seen.life is Life.RESTARTING or not act.insists):
            raise LeftAlone(Failed(reason=WILL_NOT_HELP, message=diagnosis.says, counts=False, diagnosis=diagnosis))
        # Of a life that we have ended ourselves, its exit tells only that.
        return (self._on_gpu and self._on_gpu.refusal(seen.instance)) or diagnosis

    def _stay_out_if_leaving(self, act: Act) -> None:
        if self._leaves and not act.by_operator:
            message = "left alone: the supervisor is being ended"
            raise LeftAlone(Failed(reason="Leaving", message=message, counts=False))

    async def _hindered(self, act: Act, instance: str | None) -> EngineSeen:
        """Return what the engine says now.

        Raises:
            LeftAlone: somebody else has taken it over, or the engine does not answer.
        """
        try:
            seen = await self._engine.inspect(self._engine_name)
        except SupervisorError as error:
            message = f"{act.verb} not tried: {error}"
            raise LeftAlone(Failed(reason=type(error).__name__, message=message, counts=False)) from error
        if seen.stopped_by_operator or seen.life in (Life.CREATED, Life.PAUSED, Life.MISSING):
            message = f"left alone: it is {seen.life} by somebody else's will"
            raise LeftAlone(Failed(reason="OperatorWon", message=message, counts=False))
        if instance is not None and seen.instance not in (None, instance):
            message = "left alone: somebody else has restarted it meanwhile"
            raise LeftAlone(Failed(reason="AlreadyRestarted", message=message, counts=False))
        return seen

    async def note(self, act: Act, case: Case) -> None:
        """Look into it and write down that it would have been done."""
        number = await self._begin(act)
        try:
            seen: EngineSeen | None = await self._engine.inspect(self._engine_name)
        except SupervisorError:
            seen = None
        diagnosis = await self._examiner.examine(case, seen)
        logger.bind(whole=True).warning(
            "{}: would {} it now, and only observes: {}", self._name, act.verb, diagnosis.says
        )
        if number is not None:
            await self._write(self._store.end(number, OBSERVED, counts=False))

    async def _ease(self) -> bool:
        """End the one model inside its server, where that can be done; a canary will tell whether it has helped."""
        if self._easing is None:
            return False
        began, eased = self._clock(), await self._easing.ease(limit_s=EASED_WITHIN_S)
        if eased.done:
            logger.info("{}: its model alone was ended, in {:.1f}s", self._name, self._clock() - began)
        else:
            logger.debug("{}: its model cannot be ended alone: {}", self._name, eased.detail)
        return eased.done

    async def _perform(self, act: Act) -> None:
        began = self._clock()
        if self._on_gpu is None or not await self._on_gpu.perform(act):
            await self._call(act)
        logger.bind(whole=True).info("{}: {} took {:.1f}s", self._name, act.verb, self._clock() - began)

    async def _call(self, act: Act) -> None:
        match act.verb:
            case Verb.START:
                await self._engine.start(self._engine_name)
            case Verb.STOP:
                await self._engine.stop(self._engine_name, grace_s=act.grace_s)
            case Verb.RESTART:
                await self._engine.restart(self._engine_name, grace_s=act.grace_s)

    async def _begin(self, act: Act) -> int | None:
        try:
            return await self._store.begin(self._name, act)
        except UNUSABLE as error:
            logger.error("history: cannot write that {} is about to be done to {}: {}", act.verb, self._name, error)
            return None

    async def _write(self, writing: Coroutine[Any, Any, None]) -> None:
        try:
            await writing
        except UNUSABLE as error:
            logger.error("history: cannot write about {}: {}", self._name, error)
