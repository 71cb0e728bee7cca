"""What can be behind an incident, in words for people, and what helps against it.

Pure: only values and their wording. Who finds a cause is `diagnose.py`; by which words, `cause_logs.py` and
`cause_engine.py`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

MOST_SAID = 160  # characters of one phrase
MOST_OF_A_FIELD = 100  # characters of what was read, such as a path
MIB = 1024**2
GIB = 1024**3


class Cause(StrEnum):
    """Why a target failed."""

    CRASHED = "crashed"
    OOM_KILLED = "out of memory"
    HUNG = "hung"
    FAILING = "failing"
    NEVER_READY = "never became ready"
    OUT_OF_VRAM = "out of VRAM"
    MODEL_MISSING = "model missing"
    MODEL_CORRUPT = "model unusable"  # corrupt, cut off, or of a kind that this server does not know
    BAD_FLAG = "bad command or flag"
    PORT_TAKEN = "port taken"
    GPU_LOST = "GPU lost"
    ENGINE_LOST = "engine lost"
    IMAGE_MISSING = "image missing"
    NETWORK_DETACHED = "network detached"
    KILLED_FROM_OUTSIDE = "killed from outside"
    SIGNALLED = "signalled by the operator"
    UNKNOWN = "unknown"


SAID_BY_THE_VERDICT = frozenset({Cause.HUNG, Cause.FAILING, Cause.UNKNOWN, Cause.NEVER_READY, Cause.SIGNALLED})
# What stays as it is however often the target is started.
STANDING = frozenset(
    {
        Cause.OUT_OF_VRAM,
        Cause.MODEL_MISSING,
        Cause.MODEL_CORRUPT,
        Cause.BAD_FLAG,
        Cause.PORT_TAKEN,
        Cause.GPU_LOST,
        Cause.IMAGE_MISSING,
        Cause.NETWORK_DETACHED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """A cause as it is told: `says` in a phrase, `cure` in a sentence for a person (empty: a restart is the cure).

    `helps_restart` is False where starting it again would fail in the same way; `signal` is what ended it, if any.
    """

    cause: Cause
    says: str
    cure: str
    helps_restart: bool
    signal: str | None = None

    @property
    def is_news(self) -> bool:
        """Whether it says more than the verdict it explains."""
        return self.cause not in SAID_BY_THE_VERDICT


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What somebody's words tell; a hint gives way to everything that is known better."""

    cause: Cause
    says: str
    cure: str
    is_hint: bool = False
    lacks_path: bool = False  # it is about a model file whose name other lines tell
    helps_restart: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """A sentence to look for, and what it tells. `says` and `cure` are filled with the pattern's own groups.

    Nothing else of a line is ever shown: it may hold what a user wrote, or a secret. The groups `bytes` and `mib` are
    shown as a size.
    """

    cause: Cause
    pattern: re.Pattern[str]
    says: str
    cure: str = ""
    is_hint: bool = False
    lacks_path: bool = False
    at_start: bool = False  # only a server that is about to start says so
    helps_restart: bool = False

    def read(self, match: re.Match[str]) -> Finding:
        """Return what this match tells."""
        fields = {key: cleaned(value, most=MOST_OF_A_FIELD) for key, value in match.groupdict(default="").items()}
        fields |= _sizes(fields)
        return Finding(
            cause=self.cause,
            says=shortened(self.says.format_map(fields)),
            cure=self.cure.format_map(fields),
            is_hint=self.is_hint,
            lacks_path=self.lacks_path,
            helps_restart=self.helps_restart,
        )


def sign(cause: Cause, pattern: str, says: str, cure: str = "", **more: bool) -> Sign:
    """Return a sign; `more` are its marks, such as `is_hint`."""
    return Sign(cause=cause, pattern=re.compile(pattern, re.ASCII), says=says, cure=cure, **more)


def cleaned(text: str, *, most: int) -> str:
    """Return `text` as one line of printable characters, `most` at the most."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text[: 2 * most]).split())
    return line if len(line) <= most else line[: most - 1] + "…"


def shortened(text: str) -> str:
    """Return a phrase of printable characters that fits into a line."""
    return cleaned(text, most=MOST_SAID)


def size(size_bytes: float) -> str:
    """Return a size as people say it."""
    return f"{size_bytes / GIB:.1f} GiB" if size_bytes >= GIB else f"{size_bytes / MIB:.0f} MiB"


def _sizes(fields: Mapping[str, str]) -> dict[str, str]:
    units = {"bytes": 1.0, "mib": float(MIB)}
    return {key: size(float(fields[key]) * unit) for key, unit in units.items() if fields.get(key)}
