"""Ask before the router picks a model, choose another one where `auto` leaves the choice, and own up to errors.

The router's functions are replaced in its namespace, where all its calls find them. Which argument names the model is
found by the parameter's name or, failing that, by the first argument that is a model's name.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from .desk import Desk
from .words import ATTEMPT, CASE, Attempt, Case, Refusal

FUNCTIONS = ("execute_reasoning", "execute_reasoning_stream")
OF_ONE_MODEL = {"execute_vision": "vision", "execute_code_task": "code"}
PARAMETERS = ("model_type", "model", "model_key", "model_name", "model_id", "alias")
MARK = "is_guarded"

Function = Callable[..., Any]


def guard_functions(desk: Desk, namespace: dict[str, Any]) -> list[str]:
    """Guard the functions that ask models, as far as they are defined by now; return the names of all guarded ones."""
    guarded = []
    for name in (*FUNCTIONS, *OF_ONE_MODEL):
        function = namespace.get(name)
        if inspect.isasyncgenfunction(function):
            namespace[name] = _marked(function, _Stream(desk, function, OF_ONE_MODEL.get(name)).call)
        elif inspect.iscoroutinefunction(function) and not hasattr(function, MARK):
            namespace[name] = _marked(function, _Answer(desk, function, OF_ONE_MODEL.get(name)).call)
        if hasattr(namespace.get(name), MARK):
            guarded.append(name)
    return guarded


def _marked(function: Function, guarded: Function) -> Function:
    if inspect.isasyncgenfunction(function):

        @functools.wraps(function)
        def call(*given: Any, **named: Any) -> Any:
            return guarded(*given, **named)
    else:

        @functools.wraps(function)
        async def call(*given: Any, **named: Any) -> Any:
            return await guarded(*given, **named)

    setattr(call, MARK, True)
    return call


@dataclass
class _Guarded:
    """What both kinds of function have in common."""

    desk: Desk
    function: Function
    only: str | None  # the one model that it asks, if it has no choice

    def __post_init__(self) -> None:
        self._signature = inspect.signature(self.function)

    def attempts(self, case: Case, given: tuple[Any, ...], named: dict[str, Any]) -> Iterator[tuple[Attempt, Any]]:
        """Yield an attempt after the other, each with the arguments to call with.

        Raises:
            Refusal: none may be asked, or none is left.
        """
        call = self._signature.bind(*given, **named)
        call.apply_defaults()
        place, asked = self._model_of(call)
        if asked is None:
            yield Attempt(None), call
            raise self._last(case, None)
        failed: set[str] = set()
        while True:
            alias = self._next(case, asked, failed, has_choice=place is not None)
            if alias is None:
                raise self._last(case, asked)
            if place is not None:
                call.arguments[place] = alias
            attempt = Attempt(alias)
            yield attempt, call
            failed |= attempt.asked or {each.name for each in self.desk.liveness.snapshot().models.get(alias, ())}
            if not failed or not self._may_choose(case, asked, has_choice=place is not None):
                raise self._last(case, asked)

    def refused(self, case: Case, attempt: Attempt, said: str) -> bool:
        """Say whether what the function said is an error in truth, and remember it."""
        refusal = attempt.refusal(said, self.desk.retry_after_s(attempt.alias))
        case.refusal = refusal or case.refusal
        return refusal is not None

    def _next(self, case: Case, asked: str, failed: set[str], *, has_choice: bool) -> str | None:
        snapshot = self.desk.liveness.snapshot()
        is_vouched_for = snapshot.known and (failed or asked in snapshot.models)
        if is_vouched_for and self._may_choose(case, asked, has_choice=has_choice):
            return next(self.desk.others(asked, failed), None)
        if refusal := self.desk.refusal_of(asked):
            case.refusal = refusal
            return None
        return None if failed else asked

    def _may_choose(self, case: Case, asked: str, *, has_choice: bool) -> bool:
        return has_choice and (case.is_auto or asked != case.model)

    def _last(self, case: Case, asked: str | None) -> Refusal:
        if case.refusal is None:
            reason = f"none of the models that could answer for {asked} can be asked"
            case.refusal = (asked and self.desk.refusal_of(asked)) or Refusal(503, "no_backend_available", reason, 5.0)
        return case.refusal

    def _model_of(self, call: inspect.BoundArguments) -> tuple[str | None, str | None]:
        """Return the parameter that names the model, and its value."""
        if self.only:
            return None, self.only
        names = [name for name in PARAMETERS if name in call.arguments] or list(call.arguments)
        found = ((name, call.arguments[name]) for name in names)
        return next(((name, value) for name, value in found if self.desk.is_model(value)), (None, None))


class _Answer(_Guarded):
    """A function that returns an answer in one piece."""

    async def call(self, *given: Any, **named: Any) -> Any:
        """Call it until one model has answered; raise Refusal where none does, so that nothing of it is kept."""
        case = CASE.get()
        if case is None:  # nobody's chat: its caller expects what it always got
            return await self.function(*given, **named)
        for attempt, call in self.attempts(case, given, named):
            token = ATTEMPT.set(attempt)
            try:
                said = await self.function(*call.args, **call.kwargs)
            finally:
                ATTEMPT.reset(token)
            if not isinstance(said, str) or not self.refused(case, attempt, said):
                return said
        return None  # never: the attempts end with an answer or a refusal


class _Stream(_Guarded):
    """A function that yields an answer as it comes."""

    async def call(self, *given: Any, **named: Any) -> AsyncGenerator[Any]:
        """Yield from the first model that answers; raise Refusal where none does, or where that one breaks off."""
        case = CASE.get()
        if case is None:
            async for piece in self.function(*given, **named):
                yield piece
            return
        for attempt, call in self.attempts(case, given, named):
            has_begun = False
            pieces = self.function(*call.args, **call.kwargs)
            try:
                while (piece := await self._next_piece(pieces, attempt)) is not None:
                    if isinstance(piece, str) and self.refused(case, attempt, piece):
                        break
                    has_begun = True
                    yield piece
                else:
                    if not attempt.problem or not self.refused(case, attempt, ""):
                        return
            finally:
                await pieces.aclose()
            if has_begun:
                raise self._last(case, attempt.alias)

    async def _next_piece(self, pieces: AsyncIterator[Any], attempt: Attempt) -> Any:
        token = ATTEMPT.set(attempt)
        try:
            async for piece in pieces:
                return piece
            return None
        finally:
            ATTEMPT.reset(token)
