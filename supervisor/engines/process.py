"""Programs that we run ourselves, where there is no Docker. Translates and does nothing else: no opinions, no retries.

A program outlives us: it writes its own log, and a later daemon finds it again by its number and its birth. A signal
from somebody else is a crash like any other (nobody can tell who sent it, and the kernel's OOM killer sends them too):
whoever wants a program stopped says so to us.
"""

import asyncio
import contextlib
import itertools
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Container, Mapping
from dataclasses import replace
from pathlib import Path

from loguru import logger

from supervisor.core.observations import EngineSeen, Life
from supervisor.engines.base import Changed, Description, Log
from supervisor.engines.circumstances import MISSING
from supervisor.engines.host_looks import HostLooks
from supervisor.engines.masked import without_secrets
from supervisor.engines.one_at_a_time import OneAtATime
from supervisor.engines.process_child import Child, Program, Record, load, save, why_not
from supervisor.engines.process_facts import NO_PROGRAM, depends_on, read_facts, read_program
from supervisor.engines.process_log import Life as LogLife
from supervisor.engines.process_log import follow
from supervisor.engines.rotate import rotate, tail
from supervisor.engines.signalled import Signals
from supervisor.engines.waits import processes
from supervisor.errors import EngineRefused, EngineUnreachable, TargetMissing

__all__ = ["ProcessEngine", "Program"]

LOOK_EVERY_S = 1.0  # at what pidfds do not tell: log sizes, and exits where the kernel has no pidfds
POLL_S = 0.02  # while a group is on its way out
LOOK_AROUND_S = 2.0  # at files that may lie on a share which hangs
KILL_WAIT_S = 5.0  # after SIGKILL only the kernel can hold a process back: a GPU or a disk that does not answer


class ProcessEngine:
    """Starts, stops, restarts and inspects our own child processes."""

    def __init__(
        self,
        *,
        programs: Mapping[str, Program],
        state_dir: Path,
        log_max_bytes: int,
        log_backups: int,
        stop_on_exit: bool,
        exit_grace_s: float = 10.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Start nothing; what an earlier daemon left running is found again on the first question.

        Records and logs are kept under `state_dir/process/`: `NAME.json`, and `NAME.log` with `log_backups` older ones
        of about `log_max_bytes` each. With `stop_on_exit`, `close` stops everything, giving it `exit_grace_s`.
        """
        self._programs = programs
        self._directory = state_dir / "process"
        self._log_max_bytes = log_max_bytes
        self._log_backups = log_backups
        self._stop_on_exit = stop_on_exit
        self._exit_grace_s = exit_grace_s
        self._clock = clock
        self._children: dict[str, Child] = {}
        self._refusals: dict[str, str] = {}  # why the last start failed
        self._acts = OneAtATime("the process engine")
        self._leaving: set[str] = set()
        self._unrotated: set[str] = set()
        self._pidfds: dict[str, int] = {}
        self._host_looks = HostLooks(limit_s=LOOK_AROUND_S)
        self._signals = Signals(clock=clock)
        self._began: dict[str, int] = {}  # how long the log was when it was started last
        self._readers = itertools.count()
        self._changes: asyncio.Queue[Changed] = asyncio.Queue()

    async def inspect(self, name: str) -> EngineSeen:
        """Return what is known about program `name`; one that is stopped by a signal (SIGSTOP) counts as running."""
        program = self._programs.get(name)
        if program is None:
            return EngineSeen(life=Life.MISSING)
        child, refusal = self._child(name), self._refusals.get(name, "")
        record = child.record if child else None
        seen = read_program(program, record, refusal, inherited=os.environ, now=self._clock())
        return replace(seen, signalled=self._signals.ended(name, seen))

    async def start(self, name: str) -> None:
        """Run program `name`."""
        self._program(name)
        await self._acts.do(name, "start", lambda: self._start(name))

    async def stop(self, name: str, *, grace_s: float) -> None:
        """Send SIGTERM to the group of `name`, and after `grace_s` SIGKILL."""
        self._program(name)
        await self._acts.do(name, "stop", lambda: self._stop(name, grace_s=grace_s))

    async def restart(self, name: str, *, grace_s: float) -> None:
        """Stop `name` if it runs, and run it."""
        self._program(name)
        await self._acts.do(name, "restart", lambda: self._restart(name, grace_s=grace_s))

    async def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to program `name` itself, and to nothing that it forked."""
        seen = await self.inspect(name)
        if self._program(name) and seen.pid is None:
            raise EngineRefused(f"cannot send {number.name} to {name}: it does not run")
        self._signals.note(name, seen.instance, number)
        try:
            os.kill(seen.pid or 0, number)
        except OSError as error:
            raise EngineRefused(f"cannot send {number.name} to {name}: {error.strerror}") from error

    async def cpu_s(self, name: str) -> float | None:
        """Return the CPU seconds of program `name` and of what it forked; None while it does not run."""
        self._program(name)
        child = self._child(name)
        return None if child is None or child.is_buried else child.cpu_s()

    async def log_tail(self, name: str, *, max_bytes: int) -> str:
        """Return at most the last `max_bytes` of what program `name` printed, in this life and earlier ones."""
        self._program(name)
        try:
            # In a thread of its own: a disk that hangs keeps neither our loop nor the other looks at this program.
            end = await self._host_looks.do(f"{name}.log", lambda: tail(self._log(name), max_bytes=max_bytes))
            return end.decode(errors="replace")
        except TimeoutError as error:
            raise EngineUnreachable(f"did not read the log of {name}: its disk does not answer") from error
        except OSError as error:
            raise EngineRefused(f"cannot read the log of {name}: {error}") from error

    async def follow_log(self, name: str, *, max_bytes: int) -> Log:
        """Yield the end of the log of program `name`, and then what it prints."""
        self._program(name)
        reader = f"{name}.log {next(self._readers)}"

        async def do(work: Callable[[], bytes]) -> bytes:
            try:
                return await self._host_looks.do(reader, work)
            except TimeoutError as error:
                raise EngineUnreachable(f"did not read the log of {name}: its disk does not answer") from error
            except OSError as error:
                raise EngineRefused(f"cannot read the log of {name}: {error}") from error

        told = follow(self._log(name), max_bytes=max_bytes, life=lambda: self._life(name), do=do)
        try:
            async with contextlib.aclosing(told):
                async for piece in told:
                    yield piece
        finally:
            self._host_looks.forget(reader)

    async def describe(self, name: str) -> Description:
        """Return how program `name` is run, how it is, and what it has become: itself and what it forked."""
        program = self._programs.get(name)
        if program is None:
            return Description(facts=NO_PROGRAM)
        child = self._child(name)
        facts = read_facts(program, child.record if child else None, self._refusals.get(name, ""))
        if child is None or child.is_buried:
            return Description(facts=facts)
        try:
            family = await self._host_looks.do(name, lambda: processes(child.family()))
        except TimeoutError:  # the thread hangs over a file of its circumstances
            family = []
        return Description(facts=facts, processes=tuple(family))

    async def circumstances(self, name: str) -> Mapping[str, str]:
        """Return what program `name` is run from: its file, its directory, the files it is told of, its port."""
        program = self._programs.get(name)
        if program is None:
            return {"program": MISSING}
        child = self._child(name)
        runs = child is not None and not child.is_buried
        return await self._host_looks.words(name, depends_on(program, inherited=os.environ, runs=runs))

    async def watch(self) -> AsyncIterator[Changed]:
        """Yield changes for ever, and look after the logs meanwhile."""
        yield Changed(name=None, what="watching")
        look_at = 0.0
        while True:
            if time.monotonic() >= look_at:
                await self._look_around()
                look_at = time.monotonic() + LOOK_EVERY_S
            try:
                async with asyncio.timeout(LOOK_EVERY_S):
                    change = await self._changes.get()
            except TimeoutError:
                continue
            yield change

    def mark_ours(self, name: str, *, over_at: float | None = None) -> None:
        """Take no note: no stop is ever held to be somebody else's."""

    def settle(self, programs: Mapping[str, Program], *, keep: Container[str] = ()) -> None:
        """Run these from now on, each at its next start, and those of before that are in `keep`.

        What runs goes on as it was started.
        """
        kept = {name: program for name, program in self._programs.items() if name in keep}
        self._programs = {**kept, **programs}

    def forget(self, name: str) -> None:
        """Keep nothing more about program `name`, which runs on; until it has ended, its log is looked after."""
        self._refusals.pop(name, None)
        self._host_looks.forget(name)
        self._signals.forget(name)
        self._child(name)
        self._leave(name)

    async def close(self) -> None:
        """Wait for stops and starts under way, then let the programs run on, or stop them with `stop_on_exit`."""
        await self._acts.end(cut_short=False)
        if self._stop_on_exit:
            running = [name for name in self._programs if self._child(name) is not None]
            stops = [self._stop(name, grace_s=self._exit_grace_s) for name in running]
            for problem in await asyncio.gather(*stops, return_exceptions=True):
                if problem is not None:
                    logger.error("process: {}", problem)
        for name in list(self._pidfds):
            self._unfollow(name)
        self._host_looks.close()

    async def _start(self, name: str) -> None:
        child = self._child(name)
        if child is None or child.is_buried:
            self._spawn(name)

    async def _restart(self, name: str, *, grace_s: float) -> None:
        await self._stop(name, grace_s=grace_s)
        self._spawn(name)

    async def _stop(self, name: str, *, grace_s: float) -> None:
        child = self._child(name)
        if child is None or child.is_buried:
            return
        self._leaving.add(name)  # the group may outlive its leader for as long as the grace lasts
        try:
            child.signal_group(signal.SIGTERM)
            child.signal_group(signal.SIGCONT)  # a stopped process cannot go by itself
            if not await _until(child.is_gone, within_s=grace_s):
                child.signal_group(signal.SIGKILL)
                await self._see_off(name, child)
        finally:
            self._leaving.discard(name)
        self._child(name)

    async def _see_off(self, name: str, child: Child) -> None:
        if not await _until(child.is_gone, within_s=KILL_WAIT_S):
            pids = ", ".join(str(process.pid) for process in child.members())
            raise EngineRefused(
                f"cannot stop {name}: still there {KILL_WAIT_S:g}s after SIGKILL (pid {pids}); either it runs as a user"
                " that we may not signal, or the kernel holds it over a device that does not answer (see `dmesg`)"
            )

    def _life(self, name: str) -> LogLife | None:
        """Return which life of it runs, and how long the log was when it began, where that was with us."""
        child = self._child(name)
        return None if child is None else (f"{child.pid}@{child.record.started_at}", self._began.get(name, 0))

    def _spawn(self, name: str) -> None:
        program, log = self._program(name), self._log(name)
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._began[name] = log.stat().st_size if log.exists() else 0
            child = Child.spawn(program, log=log, now=self._clock())
        except OSError as error:
            self._refusals[name] = f"cannot run {without_secrets(program.command[0])!r}: {why_not(error, program)}"
            raise EngineRefused(f"did not start {name}: {self._refusals[name]}") from error
        self._refusals.pop(name, None)
        self._children[name] = child
        self._keep(name, child.record)
        self._follow(name, child)
        self._changes.put_nowait(Changed(name=name, what=f"start (pid {child.pid})"))

    def _child(self, name: str) -> Child | None:
        """Return the present or last child of `name`, found again if need be, and buried if it has ended."""
        child = self._children.get(name)
        if child is None:
            record = load(self._directory / f"{name}.json")
            if record is None:
                return None
            child = self._children[name] = Child(record)
            if not child.has_ended():
                logger.info("process: {} still runs as pid {}, and is ours again", name, child.pid)
                self._follow(name, child)
        if not child.is_buried and name not in self._leaving and child.has_ended():
            self._bury(name, child)
        return child

    def _bury(self, name: str, child: Child) -> None:
        self._unfollow(name)
        child.bury(now=self._clock())
        self._keep(name, child.record)
        how = child.record.detail or f"exit code {child.record.exit_code}"
        self._changes.put_nowait(Changed(name=name, what=f"die ({how})"))
        self._leave(name)

    def _leave(self, name: str) -> None:
        """Forget the last child of what is not ours to run any more, once it has been buried."""
        child = self._children.get(name)
        if name not in self._programs and child is not None and child.is_buried:
            del self._children[name]
            self._unrotated.discard(name)

    def _follow(self, name: str, child: Child) -> None:
        with contextlib.suppress(OSError):  # an old kernel or a strict sandbox has no pidfds
            pidfd = self._pidfds[name] = os.pidfd_open(child.pid)
            asyncio.get_running_loop().add_reader(pidfd, self._noticed, name)

    def _noticed(self, name: str) -> None:
        self._unfollow(name)
        self._child(name)

    def _unfollow(self, name: str) -> None:
        pidfd = self._pidfds.pop(name, None)
        if pidfd is not None:
            asyncio.get_running_loop().remove_reader(pidfd)
            os.close(pidfd)

    async def _look_around(self) -> None:
        for name in {**self._programs, **self._children}:
            self._child(name)
            self._leave(name)
            try:
                await rotate(self._log(name), max_bytes=self._log_max_bytes, backups=self._log_backups)
                self._unrotated.discard(name)
            except OSError as error:
                if name not in self._unrotated:  # once, not every second
                    logger.warning("process: cannot rotate the log of {}: {}", name, error)
                self._unrotated.add(name)

    def _keep(self, name: str, record: Record) -> None:
        try:
            save(record, self._directory / f"{name}.json")
        except OSError as error:
            logger.error("process: {} will not be found again should we die: cannot write its record: {}", name, error)

    def _program(self, name: str) -> Program:
        program = self._programs.get(name)
        if program is None:
            raise TargetMissing(f"there is no program {name}: give it a command in settings.toml")
        return program

    def _log(self, name: str) -> Path:
        return self._directory / f"{name}.log"


async def _until(is_so: Callable[[], bool], *, within_s: float) -> bool:
    """Wait until `is_so`, and return whether it came to be."""
    deadline = time.monotonic() + within_s
    while not is_so():
        if time.monotonic() >= deadline:
            return False
        await asyncio.sleep(POLL_S)
    return True
