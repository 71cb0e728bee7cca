"""Hand the router's own care for its model servers over to the supervisor: two who restart would fight.

What the supervisor looks after, the router neither starts nor restarts nor kills. Once the supervisor has been gone for
long, the router takes up again, and gives back what it has started when the supervisor returns.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable
from typing import Any

from .desk import Desk
from .words import ATTEMPT

START, STOP = "start_model", "stop_model"
ORPHANS = ("_cleanup_orphans", "cleanup_orphans")
CHECKS = ("_check_and_restart_models", "check_and_restart_models", "_health_check", "check_health")
GPU, NEEDS_GPU = "check_gpu_available", "vision"
MARK = "liveness_handed_over"

log = logging.getLogger("benchai_liveness")


def hand_over(desk: Desk, namespace: dict[str, Any]) -> None:
    """Take the care out of every class that starts models."""
    _spare_the_gpu(desk, namespace)
    for kind in list(namespace.values()):
        if (
            inspect.isclass(kind)
            and inspect.iscoroutinefunction(kind.__dict__.get(START))
            and MARK not in kind.__dict__
        ):
            setattr(kind, MARK, True)
            _HandedOver(desk, namespace, kind).patch()


def _spare_the_gpu(desk: Desk, namespace: dict[str, Any]) -> None:
    """Let nobody be stopped to make room for `vision`: the supervisor runs it, and what is not free may be its own."""
    original = namespace.get(GPU)
    if not inspect.isfunction(original) or hasattr(original, MARK):
        return

    @functools.wraps(original)
    def check(*given: Any, **named: Any) -> Any:
        found = original(*given, **named)
        attempt = ATTEMPT.get()
        is_ours = attempt is not None and attempt.alias == NEEDS_GPU and desk.is_ours(NEEDS_GPU)
        return (True, *found[1:]) if is_ours and isinstance(found, tuple) else found

    setattr(check, MARK, True)
    namespace[GPU] = check


class _HandedOver:
    """One manager's class, with its methods replaced. The class stays what it was, for whoever made one of it."""

    def __init__(self, desk: Desk, namespace: dict[str, Any], kind: type) -> None:
        self._desk = desk
        self._namespace = namespace
        self._kind = kind
        self._said: set[str] = set()
        self._started: set[str] = set()  # by the router, while the supervisor was gone

    def patch(self) -> None:
        """Replace what starts, checks and kills."""
        self._replace(START, self._start)
        for name in CHECKS:
            self._replace(name, self._check)
        for name in ORPHANS:
            self._replace(name, self._leave_orphans)

    def _replace(self, name: str, replacement: Callable[..., Any]) -> None:
        original = self._kind.__dict__.get(name)
        if original is None:
            return
        if inspect.iscoroutinefunction(original):

            @functools.wraps(original)
            async def method(manager: Any, *given: Any, **named: Any) -> Any:
                return await replacement(original, manager, *given, **named)
        else:

            @functools.wraps(original)
            def method(manager: Any, *given: Any, **named: Any) -> Any:
                return replacement(original, manager, *given, **named)

        setattr(self._kind, name, method)

    async def _start(self, original: Callable[..., Any], manager: Any, *given: Any, **named: Any) -> Any:
        alias = next((each for each in (*given, *named.values()) if self._desk.is_model(each)), None)
        if alias is None or not self._desk.is_ours(alias):
            if alias is not None and not self._desk.is_known:
                self._started.add(alias)
            return await original(manager, *given, **named)
        self._say(f"start {alias}", f"does not start {alias} itself: the supervisor does")
        return True  # if it cannot be asked, the request is refused when it is made

    async def _check(self, original: Callable[..., Any], manager: Any, *given: Any, **named: Any) -> Any:
        await self._give_back(manager)
        core = [str(each) for each in self._namespace.get("CORE_MODELS", ()) or self._desk.own_models()]
        if all(map(self._desk.is_ours, core)):
            self._say("check", "has handed its health checks over to the supervisor")
            self._said.discard("gone")
            return None
        self._said.discard("check")
        self._say("gone", "takes its health checks up again: the supervisor does not look after every model")
        return await original(manager, *given, **named)

    async def _give_back(self, manager: Any) -> None:
        stop = getattr(manager, STOP, None)
        if stop is None or not self._desk.is_known:
            return
        for alias in [each for each in self._started if self._desk.is_ours(each)]:
            self._started.discard(alias)
            log.warning("[LIVENESS] stops its own %s: the supervisor is back", alias)
            await stop(alias)

    def _leave_orphans(self, _: Callable[..., Any], *__: Any, **___: Any) -> None:
        self._say("orphans", "kills no llama-server at its start: they are the supervisor's")

    def _say(self, key: str, what: str) -> None:
        if key not in self._said:
            self._said.add(key)
            log.warning("[LIVENESS] the router %s", what)
