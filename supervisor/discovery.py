"""Containers that are watched because their labels say so: which there are, and which of them can be.

One that cannot be is told of as a problem and disturbs nobody else. One that is gone is waited for: Compose makes a
container anew under the same name. What was found is written down, so that a new daemon need not wait for the engine.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from loguru import logger

from supervisor.engines.base import Changed, Engine
from supervisor.engines.docker import DockerEngine
from supervisor.engines.docker_labelled import MOST, Labelled
from supervisor.errors import SettingsError, SupervisorError
from supervisor.own_thread import OwnThread
from supervisor.settings import BackendSettings, Settings
from supervisor.settings_labels import PREFIX, admit_all, backend, is_enabled

EVERY_S = 30.0  # an event may be lost
SETTLE_S = 0.5  # events come in bursts: a container is created, connected and started
WRITTEN_WITHIN_S = 2.0
MOST_TOLD = 1000  # characters of what is wrong with one container
PART = "docker.discover"
Settle = Callable[[], Awaitable[None]]  # has what is found watched, and what is not found no more


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A container that was found, as it was seen last; `gone_since` is when it was missed first."""

    seen: Labelled
    gone_since: float | None = None
    is_watched: bool = False


class Discovery:
    """Finds containers by their labels while we run."""

    def __init__(
        self,
        path: Path,
        *,
        problems: MutableMapping[str, str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`path` is where what was found is kept; `problems` is where people are told what ails us, by part."""
        self._path = path
        self._problems = problems
        self._clock = clock
        self._known: dict[str, Known] = {}  # by the container's name
        self._told: dict[str, str] = {}  # what was complained of, by container
        self._stirred = asyncio.Event()
        self._thread = OwnThread("discovery")

    def remember(self) -> None:
        """Read what an earlier daemon had found; for the start, before anything else runs."""
        try:
            kept = json.loads(self._path.read_text())
            self._known = {each["name"]: Known(seen=_labelled(each), is_watched=True) for each in kept["found"]}
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
            logger.warning("{}: cannot be read, so containers are found anew: {}", self._path, error)

    def admitted(self, settings: Settings) -> tuple[BackendSettings, ...]:
        """Return the containers that can be watched beside what the file says; the others are told of."""
        wanted, refused = [], {}
        names = sorted(self._known, key=self._rank) if settings.docker.discover else []
        for name in names:
            try:
                wanted.append(_backend(self._known[name].seen, label=settings.docker.discover_label))
            except SettingsError as error:
                refused[name] = str(error)
        all_of_them, clashes = admit_all(settings, wanted)
        refused |= clashes
        for name in names:
            self._known[name] = replace(self._known[name], is_watched=name not in refused)
        there = {name: why for name, why in refused.items() if self._known[name].gone_since is None}
        self._complain({name: _on_one_line(name, why) for name, why in there.items()})
        return all_of_them.backends[len(settings.backends) :]

    def heard(self, change: Changed) -> None:
        """Take note that something happened to a container, or may have."""
        if change.name is None or change.what.startswith(("create", "start", "destroy", "rename", "die")):
            self.stir()

    def stir(self) -> None:
        """Look soon."""
        self._stirred.set()

    async def run(self, engine: Callable[[], Engine | None], settings: Callable[[], Settings], settle: Settle) -> None:
        """Look whenever something has happened, and now and then, for ever; `settle` is called where it matters."""
        while True:
            try:
                async with asyncio.timeout(self._next_look_s(settings())):
                    await self._stirred.wait()
                await asyncio.sleep(SETTLE_S)
            except TimeoutError:
                pass
            self._stirred.clear()
            docker = engine()
            if not settings().docker.discover or not isinstance(docker, DockerEngine):
                self._problems.pop(PART, None)
                continue
            try:
                await self._look(docker, settings(), settle)
            except Exception as error:  # noqa: BLE001 - a fault of ours must not end the daemon
                logger.opt(exception=error).error("our own search for containers failed")

    async def _look(self, docker: DockerEngine, settings: Settings, settle: Settle) -> None:
        try:
            listed = await docker.labelled(settings.docker.discover_label, prefix=PREFIX)
        except SupervisorError as error:
            self._problems[PART] = str(error)
            return
        if len(listed) < MOST:
            self._problems.pop(PART, None)
        else:
            self._problems[PART] = f"so many containers have the label that only the {MOST} oldest are looked at"
        before = self._known
        self._known = self.found(listed, settings)
        if _what_counts(before) != _what_counts(self._known):
            await settle()
            await self._keep()

    def found(self, listed: Sequence[Labelled], settings: Settings) -> dict[str, Known]:
        """Return what is known after the engine has listed its containers."""
        now, there = self._clock(), {each.name for each in listed}
        known = {each.name: Known(seen=each) for each in listed if self._counts(each, settings.docker.discover_label)}
        for name, before in self._known.items():
            if name in known:
                seen = known[name].seen
                if not seen.doors and not seen.address:  # while it does not run, nobody can tell where it will answer
                    seen = replace(seen, doors=before.seen.doors, address=before.seen.address)
                known[name] = replace(before, seen=seen, gone_since=None)
                continue
            gone_since = now if before.gone_since is None else before.gone_since
            is_over = now - gone_since >= settings.docker.discover_grace_s
            if before.is_watched and not is_over and name not in there:
                known[name] = replace(before, gone_since=gone_since)
        return known

    def _counts(self, each: Labelled, label: str) -> bool:
        """Whether it wants to be watched; one that was never started may still be given another name by Compose."""
        try:
            wants = is_enabled(each.name, each.labels, label=label)
        except SettingsError:
            return True  # its label is told of where it is read
        return wants and (each.was_started or each.name in self._known)

    def _rank(self, name: str) -> tuple[bool, bool, bool, str]:
        """Return who is admitted before whom: nobody takes the place of one that is there and watched."""
        known = self._known[name]
        stands_in = f"{PREFIX}stands_in_for" in known.seen.labels
        return stands_in, known.gone_since is not None, not known.is_watched, name

    def _next_look_s(self, settings: Settings) -> float:
        gone = [each.gone_since for each in self._known.values() if each.gone_since is not None]
        ends = [since + settings.docker.discover_grace_s - self._clock() for since in gone]
        return max(SETTLE_S, min([EVERY_S, *ends]))

    def _complain(self, complaints: dict[str, str]) -> None:
        for name, why in complaints.items():
            if self._told.get(name) != why:
                logger.warning("container {} is not watched: {}", name, why)
            self._problems[_part(name)] = why
        for name in self._told.keys() - complaints.keys():
            self._problems.pop(_part(name), None)
        self._told = complaints

    async def _keep(self) -> None:
        kept = json.dumps({"found": [asdict(each.seen) for each in self._known.values() if each.is_watched]})
        try:
            async with asyncio.timeout(WRITTEN_WITHIN_S):
                await self._thread.do(lambda: _replace(self._path, kept))
        except OSError as error:  # TimeoutError is one
            logger.error("{}: cannot be written, so a new daemon finds containers anew: {}", self._path, error)

    def close(self) -> None:
        """Let go of the thread, without waiting for a disk that hangs."""
        self._thread.close()


def _part(name: str) -> str:
    return f"container {name} is not watched"


def _on_one_line(name: str, why: str) -> str:
    """Return what is wrong with a container, so much of it as people can bear: a label may be of any length."""
    text = "; ".join(each.removeprefix(f"container {name}: ") for each in why.splitlines())
    return text if len(text) <= MOST_TOLD else f"{text[: MOST_TOLD - 1]}…"


def _backend(seen: Labelled, *, label: str) -> BackendSettings:
    is_enabled(seen.name, seen.labels, label=label)  # whoever says neither yes nor no is told so here
    return backend(seen.name, seen.labels, label=label, doors=seen.doors, address=seen.address, exposed=seen.exposed)


def _what_counts(known: dict[str, Known]) -> dict[str, tuple[Labelled, bool]]:
    # Whoever is gone may have been in another's way.
    return {name: (each.seen, each.gone_since is not None) for name, each in known.items()}


def _labelled(kept: dict[str, Any]) -> Labelled:
    return Labelled(
        name=str(kept["name"]),
        labels={str(key): str(value) for key, value in kept["labels"].items()},
        doors={int(port): str(url) for port, url in kept["doors"].items()},
        address=str(kept["address"]),
        exposed=tuple(int(each) for each in kept["exposed"]),
    )


def _replace(path: Path, text: str) -> None:
    aside = path.with_name(f".{path.name}.new")
    aside.write_text(text)
    aside.replace(path)
