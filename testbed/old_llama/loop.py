"""The inference loop: one thread that takes tasks, runs batches and answers for the slots between two batches.

It burns real CPU for every token, in a hash that lets the other threads run as C++ would.
"""

import hashlib
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Final

from testbed.old_llama.faults import Fault, Faults

PIECE: Final = bytes(128 * 1024)  # hashed in about a tenth of a millisecond, outside the interpreter's lock
WORDS: Final = (" hello", " world", " yes", " the", " time", " people")
COMPUTE_ERROR: Final = "Compute error."
NO_TASK: Final = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How big and how fast: tokens are counted per second of CPU, not of the clock."""

    slots: int
    context: int  # of all slots together
    batch: int
    prefilled_per_cpu_s: float
    generated_per_cpu_s: float


@dataclass(frozen=True, slots=True)
class Token:
    """One more piece of an answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Done:
    """The end of an answer; `error` is empty where all is well."""

    prompt_tokens: int
    generated: int
    error: str = ""


@dataclass(slots=True, kw_only=True)
class Completion:
    """A request, as the HTTP side hands it over; what comes of it is put into `out`."""

    prompt: str
    max_tokens: int
    wanted_slot: int = NO_TASK
    number: int = NO_TASK
    out: "SimpleQueue[Token | Done]" = field(default_factory=SimpleQueue)


@dataclass(slots=True)
class Look:
    """A question about the slots, which only the loop may answer."""

    out: "SimpleQueue[State]" = field(default_factory=SimpleQueue)


@dataclass(frozen=True, slots=True)
class Cancel:
    """The client of task `number` has gone."""

    number: int


@dataclass(frozen=True, slots=True)
class Wake:
    """Nothing to do but to look at the faults again."""


@dataclass(slots=True, kw_only=True)
class Slot:
    """One slot: what it works on, or worked on last."""

    id: int
    task: Completion | None = None  # None: idle
    number: int = NO_TASK
    prompt: str = ""
    max_tokens: int = -1
    prompt_tokens: int = 0
    prefilled: int = 0
    decoded: int = 0

    def begin(self, task: Completion) -> None:
        """Take up a task."""
        self.task, self.number, self.prompt, self.max_tokens = task, task.number, task.prompt, task.max_tokens
        self.prompt_tokens, self.prefilled, self.decoded = count(task.prompt), 0, 0

    def end(self, error: str = "") -> None:
        """Let go of the task and say so."""
        if self.task:
            self.task.out.put(Done(self.prompt_tokens, self.decoded, error))
        self.task = None


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What the loop says of itself between two batches."""

    slots: tuple[Slot, ...]
    deferred: int
    decodes: int
    prompt_tokens: int  # of requests that have ended ...
    generated: int  # ... and so do not move while one is under way


def count(prompt: str) -> int:
    """Return the number of tokens, which are words here, with a few for the chat template."""
    return len(prompt.split()) + 8


class Loop(threading.Thread):
    """Runs until told to end, which it hears between two batches, and never while it is frozen."""

    def __init__(self, sizes: Sizes, faults: Faults) -> None:
        super().__init__(name="llama-inference", daemon=True)
        self.sizes = sizes
        self._faults = faults
        self._slots = [Slot(id=number) for number in range(sizes.slots)]
        self._tasks: deque[Completion | Look | Cancel | Wake] = deque()
        self._deferred: deque[Completion] = deque()
        self._has_tasks = threading.Condition()
        self._stuck: Slot | None = None
        self._numbers = self._decodes = self._prompt_tokens = self._generated = 0
        self._is_ended = False

    def post(self, task: Completion | Look | Cancel | Wake) -> int:
        """Hand over a task and return its number; a look goes before everything else."""
        with self._has_tasks:
            self._numbers += 1
            if isinstance(task, Completion):
                task.number = self._numbers
            (self._tasks.appendleft if isinstance(task, Look) else self._tasks.append)(task)
            self._has_tasks.notify()
            return self._numbers

    def end(self) -> None:
        """Ask the loop to end."""
        self._is_ended = True
        self.post(Wake())

    def run(self) -> None:
        """Take tasks and run batches, by turns."""
        while not self._is_ended:
            self._wait_for_work()
            self._suffer()
            self._take_tasks()
            if self._moving():
                self._decode()

    def _wait_for_work(self) -> None:
        with self._has_tasks:
            while not self._tasks and not self._moving():
                self._has_tasks.wait()

    def _suffer(self) -> None:
        """Stand still, or burn CPU for nothing, where that is the fault."""
        while Fault.FROZEN in self._faults:
            threading.Event().wait()
        while Fault.LIVELOCK in self._faults:
            hashlib.sha256(PIECE)

    def _take_tasks(self) -> None:
        while self._tasks:
            match task := self._tasks.popleft():
                case Completion():
                    self._deferred.append(task)
                case Look():
                    task.out.put(self._state())
                case Cancel():
                    # As in those builds, only what is at work is ended; what waits still runs when its turn comes.
                    for slot in self._slots:
                        if slot.task and slot.number == task.number:
                            self._release(slot)
                case Wake():
                    pass
            self._launch()

    def _launch(self) -> None:
        """Give waiting requests to idle slots, first come first served."""
        for task in list(self._deferred):
            idle = [slot for slot in self._slots if not slot.task and task.wanted_slot in (NO_TASK, slot.id)]
            if idle:
                self._deferred.remove(task)
                idle[0].begin(task)

    def _moving(self) -> list[Slot]:
        """Return the slots that have work and are not stuck."""
        at_work = [slot for slot in self._slots if slot.task]
        if Fault.STUCK_SLOT in self._faults and self._stuck is None and at_work:
            self._stuck = at_work[0]
        return [slot for slot in at_work if slot is not self._stuck]

    def _decode(self) -> None:
        """Run one batch: a token for each answer under way, and as much of the prompts as there is room for."""
        slots, room = self._moving(), self.sizes.batch
        if Fault.CRASHED_INSIDE in self._faults:
            for slot in slots:
                self._release(slot, COMPUTE_ERROR)
            return
        generating = [slot for slot in slots if slot.prefilled == slot.prompt_tokens]
        room -= len(generating)
        prompts: list[tuple[Slot, int]] = []
        for slot in slots:
            if slot not in generating and room > 0:
                prompts.append((slot, min(room, slot.prompt_tokens - slot.prefilled)))
                room -= prompts[-1][1]
        prefilled = sum(tokens for _, tokens in prompts)
        self._burn(prefilled / self.sizes.prefilled_per_cpu_s + len(generating) / self.sizes.generated_per_cpu_s)
        self._decodes += 1
        for slot, tokens in prompts:
            slot.prefilled += tokens
        for slot in generating:
            self._add_token(slot)

    def _burn(self, cpu_s: float) -> None:
        until = time.thread_time() + cpu_s
        while time.thread_time() < until:
            self._suffer()
            hashlib.sha256(PIECE)

    def _add_token(self, slot: Slot) -> None:
        assert slot.task is not None  # noqa: S101 - only slots at work generate
        slot.decoded += 1
        slot.task.out.put(Token(WORDS[(slot.number + slot.decoded) % len(WORDS)]))
        is_full = slot.prompt_tokens + slot.decoded >= self.sizes.context // self.sizes.slots
        if slot.decoded >= slot.max_tokens >= 0 or is_full:
            self._release(slot)

    def _release(self, slot: Slot, error: str = "") -> None:
        self._prompt_tokens += slot.prefilled
        self._generated += slot.decoded
        slot.end(error)
        self._launch()

    def _state(self) -> State:
        return State(
            slots=tuple(Slot(**{name: getattr(slot, name) for name in Slot.__slots__}) for slot in self._slots),
            deferred=len(self._deferred),
            decodes=self._decodes,
            prompt_tokens=self._prompt_tokens,
            generated=self._generated,
        )
