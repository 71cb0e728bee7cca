"""Write what is logged: cleaned, folded, laid out.

A log that cannot be written is nobody's trouble but its reader's."""

import contextlib
import re
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TextIO

from supervisor import log_faults
from supervisor.log_folds import Folds
from supervisor.log_lines import Form, Line, shortened
from supervisor.log_secrets import Secrets

WHOLE, LIBRARY = "whole", "library"  # never folded; who said it, where that was not we
FIELDS = ("target", "before", "after", "verdict", "reason", "incident", "cause", "library")
NUMBER = re.compile(r"\d+")


class Sink:
    """What loguru writes to. It is called from any thread."""

    def __init__(
        self,
        stream: TextIO,
        *,
        form: Form,
        secrets: Secrets,
        folds: Folds | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._form = form
        self._secrets = secrets
        self._folds = folds or Folds()
        self._clock = clock
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def write(self, message: Any) -> None:
        """Take one of loguru's messages."""
        record: Mapping[str, Any] = message.record
        line = self._line(record)
        with self._lock:
            if record["extra"].get(WHOLE):
                self._put([*self._folds.due(self._clock()), line])
            else:
                self._put(self._folds.take(_key(record, line), line, now=self._clock()))
            self._wind()

    def stop(self) -> None:
        """Say what was held back."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._put(self._folds.rest())

    def _line(self, record: Mapping[str, Any]) -> Line:
        extra = record["extra"]
        is_theirs = bool(extra.get(LIBRARY))
        clean = self._secrets.out_of_theirs if is_theirs else self._secrets.out_of_ours
        error = record["exception"].value if record["exception"] else None
        return Line(
            at=record["time"],
            level=record["level"].name,
            message=shortened(clean(record["message"])),
            fields={key: clean(str(extra[key])) for key in FIELDS if extra.get(key)},
            fault="" if error is None else log_faults.told(error, clean=self._secrets.out_of_theirs),
        )

    def _put(self, lines: list[Line]) -> None:
        # A pipe that nobody reads any more, a full disk: there is no better place to tell of it.
        with contextlib.suppress(OSError, ValueError):
            for line in lines:
                self._stream.write(self._form(line) + "\n")
            if lines:
                self._stream.flush()

    def _wind(self) -> None:
        """See to it that what is held back is said in time, though nothing else be said."""
        due_at = self._folds.next_due()
        if due_at is None or self._timer is not None:
            return
        self._timer = threading.Timer(max(0.1, due_at - self._clock()), self._ring)
        self._timer.daemon = True
        self._timer.start()

    def _ring(self) -> None:
        with self._lock:
            self._timer = None
            self._put(self._folds.due(self._clock()))
            self._wind()


def _key(record: Mapping[str, Any], line: Line) -> Hashable:
    """Return what two lines share that say the same: a library's may differ in a number, such as a time or a port."""
    fault = line.fault.rpartition("\n")[2]
    message = NUMBER.sub("#", line.message) if record["extra"].get(LIBRARY) else line.message
    return (record["name"], record["function"], record["line"], line.level, message, line.fields.get("target"), fault)
