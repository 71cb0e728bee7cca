"""What can go wrong inside, one name for each incident of the field; only a restart cures it."""

from enum import StrEnum
from threading import Event


class Fault(StrEnum):
    """One thing that is wrong with a server whose `/health` still says ok."""

    FROZEN = "frozen"  # the inference loop stands still and burns nothing
    LIVELOCK = "livelock"  # it burns CPU and gets nowhere
    STUCK_SLOT = "stuck-slot"  # one slot stays at work and never moves, the others go on
    CRASHED_INSIDE = "crashed-inside"  # every completion is "Compute error", and SIGTERM is ignored
    SWALLOW = "swallow"  # completions are accepted and never reach the queue
    ERROR_IN_200 = "error-in-200"  # an error as the body of a success
    GARBAGE = "garbage"  # one character for ever
    EMPTY = "empty"  # an answer of no tokens
    HALF_CLOSED = "half-closed"  # the connection ends in the middle of the body
    STALLS_MID_STREAM = "stalls-mid-stream"  # the first tokens come, the rest does not
    BAD_TEMPLATE = "bad-template"  # every chat is refused with 400


class Faults:
    """The faults that are on; set by one thread, read by the others."""

    def __init__(self, *on: Fault) -> None:
        self._on = {fault: Event() for fault in Fault}
        for fault in on:
            self.set(fault)

    def set(self, fault: Fault) -> None:
        """Switch one on, for the rest of this life."""
        self._on[fault].set()

    def __contains__(self, fault: Fault) -> bool:
        return self._on[fault].is_set()
