"""Log lines as a test makes and reads them."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from loguru import logger

from supervisor.log_folds import Folds
from supervisor.log_lines import Form, Line, as_text
from supervisor.log_secrets import Secrets
from supervisor.log_sink import Sink

AT = datetime(2026, 11, 26, 9, 10, 27, 45_000, tzinfo=UTC)


def line(message: str = "general: up → suspect (Silent: no answer)", **changes: object) -> Line:
    """Return a line."""
    return Line(**{"at": AT, "level": "WARNING", "message": message, **changes})  # type: ignore[arg-type]


@dataclass
class Clock:
    """A clock that a test turns."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Log:
    """What has been written, and the clock of whoever writes it."""

    stream: io.StringIO = field(default_factory=io.StringIO)
    clock: Clock = field(default_factory=Clock)

    @property
    def lines(self) -> list[str]:
        """What was written, without its time."""
        return [each[24:] for each in self.stream.getvalue().splitlines()]


@contextmanager
def logging(*secrets: str, form: Form = as_text, folds: Folds | None = None) -> Iterator[Log]:
    """Send what is logged to a stream of the test's until the end of the block."""
    log = Log()
    sink = Sink(log.stream, form=form, secrets=Secrets(secrets), folds=folds, clock=log.clock)
    number = logger.add(sink, level="TRACE", format=lambda _: "", diagnose=False, backtrace=False)
    try:
        yield log
    finally:
        logger.remove(number)
