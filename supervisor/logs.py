"""Where log lines go: one sink, on standard error, one line per transition with its reason.

How they look is in `log_lines.py`, what is folded in `log_folds.py`, what is never told in `log_secrets.py`.
"""

import logging
import sys
import threading
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

from loguru import logger

from supervisor.core.state import Phase, Transition
from supervisor.log_lines import form_for
from supervisor.log_secrets import Secrets
from supervisor.log_sink import LIBRARY, WHOLE, Sink

ALARMING = (Phase.SUSPECT, Phase.RESTARTING, Phase.BACKOFF, Phase.FAILED)

_secrets = Secrets()


class _Relay(logging.Handler):
    """Passes on what libraries log by the standard module."""

    def emit(self, record: logging.LogRecord) -> None:
        level = record.levelname if record.levelname in logging.getLevelNamesMapping() else record.levelno
        told = logger.bind(**{LIBRARY: record.name}).opt(exception=record.exc_info)
        told.log(level, "{}: {}", record.name, record.getMessage())


def set_up(level: str, *, form: str = "auto") -> None:
    """Send everything at `level` and above to standard error; from libraries, warnings only.

    What they say below that holds headers and addresses in full.
    """
    logger.remove()
    sink = Sink(sys.stderr, form=form_for(form, sys.stderr), secrets=_secrets)
    logger.add(sink, level=level, format=_nothing, diagnose=False, backtrace=False)
    logging.basicConfig(handlers=[_Relay()], level=logging.WARNING, force=True)
    logging.captureWarnings(capture=True)
    sys.excepthook = _fault
    threading.excepthook = _fault_of_thread


def hide(secrets: Iterable[str]) -> None:
    """Never write any of these again, in whatever words they come."""
    _secrets.add(secrets)


def log_transition(name: str, change: Transition, *, incident: str | None) -> None:
    """Write one line about a change of phase, with the id of the incident that it is a part of."""
    judgement = change.judgement
    fields = {
        WHOLE: True,
        "target": name,
        "before": str(change.before),
        "after": str(change.after),
        "verdict": str(judgement.verdict),
        "reason": judgement.reason,
        "incident": incident,
    }
    level = "WARNING" if change.after in ALARMING else "INFO"
    said = f"{judgement.verdict}, {judgement.message}"
    logger.bind(**fields).log(level, "{}: {} → {} ({}: {})", name, change.before, change.after, judgement.reason, said)


def log_engine(name: str, before: str, now: str) -> None:
    """Write one line when a target's engine can be asked no more, with the reason, and one when it can again."""
    if now and not before:
        logger.warning("{}: its engine cannot be asked, so it is not restarted: {}", name, now)
    if before and not now:
        logger.info("{}: its engine answers again", name)


def _nothing(_: Mapping[str, Any]) -> str:
    """Have loguru lay nothing out: the sink reads the record itself."""
    return ""


def _fault(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Tell of what nobody has caught in our own way: Python's would show what the error's words may hold."""
    if issubclass(kind, KeyboardInterrupt):
        return
    logger.opt(exception=(kind, error, trace)).critical("our own fault, which nobody foresaw")


def _fault_of_thread(said: threading.ExceptHookArgs) -> None:
    if said.exc_value is not None and said.exc_type is not SystemExit:
        logger.opt(exception=(said.exc_type, said.exc_value, said.exc_traceback)).error(
            "our own fault, which nobody foresaw, in the thread {}", said.thread.name if said.thread else "?"
        )
