"""What passes between the parts: one client's request, one attempt at a model, and a refusal.

A request and an attempt are found by context variables, so that the router's own functions need not hand them on.
"""

from __future__ import annotations

import re
from contextvars import ContextVar
from dataclasses import dataclass, field

BUSY = re.compile(r"^\s*(?:Code model|Model .{1,100}) is currently busy\b")
# Errors in the router's own words. A model may say them too: they count only where something did go wrong.
ERRORS = re.compile(
    r"^\s*(?:(?:Reasoning|Streaming|Code generation|Vision analysis|Vision model|Model) (?:failed|error|timed out)\b"
    r"|Vision analysis requires\b|Request timed out after\b)"
)
LEFT_TO_CLIENTS = (400, 413, 422)  # statuses that are about the request: the next model would say the same
MAX_CHARS = 300


class Refusal(Exception):
    """Why there is no answer, in terms of HTTP; `said` is what the router would have sent as an answer."""

    def __init__(self, status: int, code: str, reason: str, retry_after_s: float, said: str | None = None) -> None:
        super().__init__(reason[:MAX_CHARS])
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s
        self.said = said


@dataclass
class Case:
    """One client's request."""

    model: str
    is_auto: bool
    refusal: Refusal | None = None  # the last one, whatever the router made of it


@dataclass
class Attempt:
    """One call of one of the router's functions, and what became of its requests to model servers."""

    alias: str | None
    reached: bool = False  # it did ask a model server
    problem: str = ""
    status: int | None = None  # with which the model server refused
    is_too_late: bool = False
    asked: set[str] = field(default_factory=set)  # backends

    def note(self, problem: str, *, status: int | None = None, is_too_late: bool = False) -> None:
        """Remember the last thing that went wrong."""
        self.problem, self.status, self.is_too_late = problem, status, is_too_late

    def clear(self) -> None:
        """Forget it: somebody has answered."""
        self.note("")

    def refusal(self, said: str, retry_after_s: float) -> Refusal | None:
        """Return a refusal where `said` is an error dressed as an answer: something went wrong, or nobody was asked.

        What a model answered is never taken for an error, whatever it says.
        """
        text = said.strip()
        if self.reached and not self.problem:
            return None
        if not self.reached and BUSY.match(text):
            return Refusal(503, "model_busy", text, retry_after_s, said)
        if not ERRORS.match(text) and (text or not self.problem):
            return None
        reason = text if text and self.problem in text else ": ".join(part for part in (text, self.problem) if part)
        if self.status in LEFT_TO_CLIENTS:
            return Refusal(self.status or 400, "request_refused", reason, retry_after_s, said)
        if self.is_too_late:
            return Refusal(504, "no_answer_in_time", reason, retry_after_s, said)
        return Refusal(503, "no_backend_available", reason, retry_after_s, said)


CASE: ContextVar[Case | None] = ContextVar("benchai_liveness_case", default=None)
ATTEMPT: ContextVar[Attempt | None] = ContextVar("benchai_liveness_attempt", default=None)
