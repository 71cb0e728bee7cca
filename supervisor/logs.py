"""Where log lines go and what they look like: one sink, on standard error, one line per transition."""

import logging
import sys

from loguru import logger

from supervisor.core.state import Phase, Transition

ALARMING = (Phase.SUSPECT, Phase.RESTARTING, Phase.BACKOFF, Phase.FAILED)
FORMAT = "{time:YYYY-MM-DD HH:mm:ss.SSS} {level: <7} {message}"


class _Relay(logging.Handler):
    """Passes on what libraries log by the standard module."""

    def emit(self, record: logging.LogRecord) -> None:
        level = record.levelname if record.levelname in logging.getLevelNamesMapping() else record.levelno
        logger.opt(exception=record.exc_info).log(level, "{}: {}", record.name, record.getMessage())


def set_up(level: str) -> None:
    """Send everything at `level` and above to standard error; from libraries, warnings only."""
    logger.remove()
    logger.add(sys.stderr, level=level, format=FORMAT, diagnose=False)
    logging.basicConfig(handlers=[_Relay()], level=logging.WARNING, force=True)


def log_transition(name: str, change: Transition) -> None:
    """Write one line about a change of phase."""
    judgement = change.judgement
    level = "WARNING" if change.after in ALARMING else "INFO"
    said = f"{judgement.verdict}, {judgement.message}"
    logger.log(level, "{}: {} → {} ({}: {})", name, change.before, change.after, judgement.reason, said)
