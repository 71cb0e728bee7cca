"""Containers of a Docker engine, by name. Translates and does nothing else: no thresholds, no retries, no opinions."""

import asyncio
import contextlib
import math
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace

from docker import APIClient
from loguru import logger

from supervisor.core.observations import EngineSeen, Life
from supervisor.engines.base import Changed, Description, Log
from supervisor.engines.circumstances import MISSING, MOST, Thing
from supervisor.engines.docker_calls import EngineCalls
from supervisor.engines.docker_circumstances import depends_on, read_around
from supervisor.engines.docker_ends import ENDED, Ends
from supervisor.engines.docker_events import Connected, Ended, EventStream
from supervisor.engines.docker_facts import NO_CONTAINER, is_detached, read_facts
from supervisor.engines.docker_labelled import Labelled, labelled
from supervisor.engines.docker_log import Place, ending, follow
from supervisor.engines.docker_looks import around, existing, find, processes, remembered
from supervisor.engines.docker_pool import UNIX, T
from supervisor.engines.docker_state import (
    Attributes,
    ContainerEvent,
    Memory,
    is_told_to_end,
    read_container,
    was_asked_to_end,
)
from supervisor.engines.host_looks import HostLooks
from supervisor.engines.signalled import Signals
from supervisor.errors import EngineRefused, SupervisorError

# The SDK gives up first, so that an unanswered call gives its thread back.
CLIENT_SHARE = 0.8
RETRY_FIRST_S = 0.2  # a restarting engine is back in about half a second
RETRY_MAX_S = 5.0
MOST_LINES = 1000  # of a log, of at most 16 KiB each: the engine can be asked for so many lines, not for so many bytes


class DockerEngine:
    """Starts, stops, restarts and inspects containers."""

    def __init__(
        self,
        *,
        host: str,
        timeout_s: float,
        workers: int,
        ping_every_s: float = 10.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Connect to nothing yet: the engine may come later.

        `timeout_s` bounds every call, on top of the grace where one is given; `workers` bounds the threads that a hung
        engine can hold, and for the record as many again; a stream without events is pinged every `ping_every_s`;
        `clock` is wall time.
        """
        self._host = host
        self._timeout_s = timeout_s
        self._client_timeout_s = CLIENT_SHARE * timeout_s
        self._ping_every_s = ping_every_s
        self._clock = clock
        self._calls = EngineCalls(host=host, client_timeout_s=self._client_timeout_s, workers=workers)
        # What is asked for the record may hang, or trickle for ever: whoever stops a target waits neither for it
        # nor for a thread.
        self._record_calls = EngineCalls(host=host, client_timeout_s=self._client_timeout_s, workers=workers)
        self._host_looks = HostLooks(limit_s=timeout_s)
        self._ends = Ends(clock=clock)
        self._signals = Signals(clock=clock)
        self._streams: set[EventStream] = set()
        self._is_closed = False

    async def inspect(self, name: str) -> EngineSeen:
        """Return what the engine knows about container `name`."""
        container = await self._find(name)
        if container is None:
            self._ends.forget(name)
            return EngineSeen(life=Life.MISSING)
        seen = read_container(container, now=self._clock())
        if self._ends.is_marked(name):
            self._ends.meet(name, seen, is_told_to_end=await self._is_told_to_end(name, container, seen))
        seen = replace(seen, stopped_by_operator=await self._is_by_operator(name, container, seen))
        return replace(seen, signalled=self._signals.ended(name, seen))

    async def start(self, name: str) -> None:
        """Start container `name`, or let it go on if it is paused."""
        self._calls.refuse_if_busy(("act", name), f"start {name}")
        container = await self._existing(name, "start")
        paused = container["State"]["Status"] == "paused"
        await self._act(name, "start", lambda client: (client.unpause if paused else client.start)(container["Id"]))

    async def stop(self, name: str, *, grace_s: float) -> None:
        """Stop container `name`; the engine unpauses a paused one for it."""
        await self._end(name, "stop", APIClient.stop, grace_s=grace_s)

    async def restart(self, name: str, *, grace_s: float) -> None:
        """Restart container `name`; once begun, the engine goes through with it whatever becomes of us."""
        await self._end(name, "restart", APIClient.restart, grace_s=grace_s)

    async def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to the first process of container `name`."""
        what = f"send {number.name} to {name}"
        self._calls.refuse_if_busy(("signal", name), what)
        container = await self._existing(name, f"send {number.name} to")
        seen = read_container(container, now=self._clock())
        if seen.life is not Life.RUNNING:
            raise EngineRefused(f"Docker was not asked to {what}: it does not run")
        self._signals.note(name, seen.instance, number)
        self._ends.expect(container["Id"], int(number))
        await self._calls.ask(
            ("signal", name), what, lambda client: client.kill(container["Id"], int(number)), limit_s=self._timeout_s
        )

    async def cpu_s(self, name: str) -> float | None:
        """Return the CPU seconds of the container's whole control group; None while it does not run."""

        def sample(client: APIClient) -> float | None:
            container = existing(find(client, name), name, "sample")
            if not container["State"]["Running"]:
                return None
            # Without one_shot every answer takes two seconds. With it the first comes at once, the next not before the
            # engine looks again, a second later: hence a lane of its own.
            stats = client.stats(container["Id"], stream=False, one_shot=True)
            return float(stats["cpu_stats"]["cpu_usage"]["total_usage"]) / 1e9

        return await self._calls.ask(("cpu", name), f"sample the CPU time of {name}", sample, limit_s=self._timeout_s)

    async def log_tail(self, name: str, *, max_bytes: int) -> str:
        """Return at most the last `max_bytes` of what the container printed, in this life and earlier ones."""
        lines = min(max(1, max_bytes), MOST_LINES)

        def read(client: APIClient) -> bytes:
            return client.logs(existing(find(client, name), name, "read the log of")["Id"], tail=lines)

        tail = await self._ask_for_record("log", name, f"read the log of {name}", read)
        return tail[-max_bytes:].decode(errors="replace") if max_bytes > 0 else ""

    async def follow_log(self, name: str, *, max_bytes: int) -> Log:
        """Yield the end of the container's log, and then what it prints, and what one made anew under its name does."""
        lines = min(max(1, max_bytes), MOST_LINES)
        container = await self._existing(name, "read the log of")
        end, stamp = await self._ask_for_record(
            "log",
            name,
            f"read the log of {name}",
            lambda client: ending(client, container, lines=lines, max_bytes=max_bytes),
        )
        yield end
        place = Place(container["Id"], container["State"]["StartedAt"], stamp)
        told = follow(lambda: self._find(name), place, host=self._host, connect_timeout_s=self._client_timeout_s)
        async with contextlib.aclosing(told):
            async for piece in told:
                yield piece

    async def describe(self, name: str) -> Description:
        """Return how container `name` was made, how it is, and what runs in it."""

        def ask(client: APIClient) -> Description:
            container = find(client, name)
            if container is None:
                return Description(facts=NO_CONTAINER)
            found = processes(client, container)
            return Description(facts=read_facts(container), processes=tuple(found), is_detached=is_detached(container))

        return await self._ask_for_record("describe", name, f"describe {name}", ask)

    async def circumstances(self, name: str) -> Mapping[str, str]:
        """Return what the engine knows around container `name`, and what we see of it where the engine is on our host.

        Files and ports are looked at outside of the calls to the engine, and nobody else waits for them.
        """

        def ask(client: APIClient) -> tuple[dict[str, str], dict[str, Thing]]:
            container = find(client, name)
            if container is None:
                return {"container": MISSING}, {}
            words = read_around(container, around(client, container))
            return words, depends_on(container, most=MOST - len(words))

        words, things = await self._ask_for_record("around", name, f"tell what {name} depends on", ask)
        return words | (await self._host_looks.words(name, things) if self._host.startswith(UNIX) else {})

    async def watch(self) -> AsyncIterator[Changed]:
        """Yield changes for ever. The stream of an engine that restarts ends, that of a hung one falls silent."""
        retry_s = RETRY_FIRST_S
        while not self._is_closed:
            stream = EventStream(host=self._host, connect_timeout_s=self._client_timeout_s)
            self._streams.add(stream)
            try:
                while not isinstance(item := await self._next(stream), Ended):
                    retry_s = RETRY_FIRST_S
                    for change in self._take(item):
                        yield change
            finally:
                stream.cut()
                self._streams.discard(stream)
                self._ends.forget_kills()
            logger.debug("docker: no events: {}; connecting again in {:g}s", item.reason, retry_s)
            await asyncio.sleep(retry_s)
            retry_s = min(2 * retry_s, RETRY_MAX_S)

    async def labelled(self, label: str, *, prefix: str) -> list[Labelled]:
        """Return every container that has `label`, with those of its labels that begin with `prefix`."""

        def ask(client: APIClient) -> list[Labelled]:
            return labelled(client, host=self._host, label=label, prefix=prefix)

        return await self._record_calls.ask("labelled", "list its containers", ask, limit_s=self._timeout_s)

    def mark_ours(self, name: str, *, over_at: float | None = None) -> None:
        """Take the stop that `name` is found in for ours, if it can be."""
        self._ends.mark(name, over_at=over_at)

    def forget(self, name: str) -> None:
        """Keep nothing more about container `name`."""
        self._ends.drop(name)
        self._host_looks.forget(name)
        self._signals.forget(name)
        for calls in (self._calls, self._record_calls):
            calls.forget(name)

    async def close(self) -> None:
        """Cut the events and leave the threads; one that a hung engine holds does not keep the process from ending."""
        self._is_closed = True
        for stream in self._streams:
            stream.cut()
        self._calls.close()
        self._record_calls.close()
        self._host_looks.close()

    async def _find(self, name: str) -> Attributes | None:
        return await self._look(name, f"inspect {name}", lambda client: find(client, name))

    async def _existing(self, name: str, verb: str) -> Attributes:
        return existing(await self._find(name), name, verb)

    async def _end(self, name: str, verb: str, end: Callable[[APIClient, str, int], None], *, grace_s: float) -> None:
        """Stop or restart, and know the end that follows for ours."""
        self._calls.refuse_if_busy(("act", name), f"{verb} {name}")
        container = await self._existing(name, verb)
        ours = self._ends.begin(name, read_container(container, now=self._clock()).instance)
        whole_grace_s = math.ceil(grace_s)  # the API takes whole seconds; 0 is SIGTERM with SIGKILL on its heels
        try:
            await self._act(
                name, verb, lambda client: end(client, container["Id"], whole_grace_s), grace_s=whole_grace_s
            )
        finally:
            self._ends.finish(ours)

    async def _act(self, name: str, verb: str, work: Callable[[APIClient], None], *, grace_s: float = 0.0) -> None:
        await self._calls.ask(("act", name), f"{verb} {name}", work, limit_s=self._timeout_s + grace_s)

    async def _look(self, name: str, what: str, work: Callable[[APIClient], T]) -> T:
        return await self._calls.ask(("look", name), what, work, limit_s=self._timeout_s)

    async def _ask_for_record(self, kind: str, name: str, what: str, work: Callable[[APIClient], T]) -> T:
        return await self._record_calls.ask((kind, name), what, work, limit_s=self._timeout_s)

    async def _is_told_to_end(self, name: str, container: Attributes, seen: EngineSeen) -> bool:
        """Return whether it still lives, and somebody has told it to go."""
        if seen.life in ENDED:
            return False
        what = f"tell whether {name} was told to go"
        return await self._look(name, what, lambda _: is_told_to_end(container, self._remembered()))

    async def _is_by_operator(self, name: str, container: Attributes, seen: EngineSeen) -> bool:
        """Return whether somebody else has paused it, stopped it, or is about to."""
        if seen.life is Life.PAUSED:
            return True  # we never pause
        if self._ends.is_ours(name, seen) or seen.instance is None:
            return False
        if seen.life is not Life.EXITED:
            return self._ends.is_leaving(container["Id"])
        end = f"{seen.instance}{seen.detail}"  # a start that has failed since then is no end, and changes whose it was
        known = self._ends.verdict(name, end)
        if known is None:
            ours = self._signals.lately(name, seen.instance)
            known = await self._look(
                name, f"tell who stopped {name}", lambda _: was_asked_to_end(container, self._remembered(), ours=ours)
            )
            self._ends.settle(name, end, was_asked=known)
        return known

    def _remembered(self) -> Memory:
        return remembered(self._host, timeout_s=self._client_timeout_s)

    async def _next(self, stream: EventStream) -> Connected | ContainerEvent | Ended:
        while True:
            try:
                async with asyncio.timeout(self._ping_every_s):
                    return await stream.next()
            except TimeoutError:
                try:
                    await self._calls.ask("ping", "answer", APIClient.ping, limit_s=self._timeout_s)
                except SupervisorError as error:
                    return Ended(str(error))

    def _take(self, item: Connected | ContainerEvent) -> list[Changed]:
        if isinstance(item, Connected):
            return [Changed(name=None, what="connected")]
        self._ends.take(item)
        return [Changed(name=name, what=str(item)) for name in item.names]
