"""What came of one spell of a server that works, and of one fault."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Spell:
    """One spell of a server that worked, or at least was not to be restarted."""

    situation: str
    took_s: float
    restarts: int
    told_out: int  # times that it was called not routable meanwhile
    told_out_s: float
    verdicts: list[str]
    problem: str  # of its users; empty: they got what they asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Illness:
    """One fault, in seconds from when it was in place; None: it did not happen."""

    situation: str
    told_s: float | None
    restarted_s: float | None
    well_s: float | None
    restarts: int
    verdicts: list[str]
