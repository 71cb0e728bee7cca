"""The end of what a unit printed, from the journal: read backwards by `journalctl`, until enough has come.

Bounded in time and in size: the reader is ended when it has told enough, and when it is late.
"""

import asyncio
import contextlib
import json
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from supervisor.engines.base import Log, NewLife
from supervisor.errors import EngineRefused, EngineUnreachable

JOURNALCTL = ("journalctl",)
# By what its processes printed, and not by `--unit`: that has systemd's own words about the unit in between.
FIELDS = "--output-fields=MESSAGE,_LINE_BREAK,_SYSTEMD_INVOCATION_ID"
ASK = ("--quiet", "--no-pager", "--all", "--output=json", FIELDS)
MOST_LINES = 1000
MOST_OF_A_LINE = 1 << 20  # as journalctl writes it, in which one byte may take four
MOST_OF_WORDS = 300
SYNC_WITHIN_S = 1.0
AGAIN_S = 1.0
INHERITED = ("PATH", "LANG", "LC_ALL")


async def tail(unit: str, *, max_bytes: int, limit_s: float, journalctl: Sequence[str] = JOURNALCTL) -> str:
    """Return at most the last `max_bytes` of what the processes of `unit` printed, in this life and earlier ones.

    Raises:
        EngineUnreachable: the journal did not answer within `limit_s`.
        EngineRefused: it cannot be read by us.
    """
    if max_bytes <= 0:
        return ""
    try:
        end, _ = await _ending(unit, max_bytes=max_bytes, limit_s=limit_s, journalctl=journalctl)
        return end.decode(errors="replace")
    except OSError as error:
        raise _cannot_be_run(unit, error) from error


async def follow(unit: str, *, max_bytes: int, limit_s: float, journalctl: Sequence[str] = JOURNALCTL) -> Log:
    """Yield the end of what the processes of `unit` printed, and then what they print, for ever.

    Raises as `tail` does, before the first.
    """
    try:
        end, last = await _ending(unit, max_bytes=max(1, max_bytes), limit_s=limit_s, journalctl=journalctl)
    except OSError as error:
        raise _cannot_be_run(unit, error) from error
    yield end if max_bytes > 0 else b""
    while True:
        where = ("--lines=0",) if last.cursor is None else ("--no-tail", f"--after-cursor={last.cursor}")
        async with _running(journalctl, *ASK, "--follow", *where, f"_SYSTEMD_UNIT={unit}") as process:
            assert process.stdout is not None  # noqa: S101 - we have asked for it
            while line := await _next_line(process.stdout):
                entry = Entry.of(line)
                if last.life and entry.life and entry.life != last.life:
                    yield NewLife()
                last = Entry(text=b"", cursor=entry.cursor or last.cursor, life=entry.life or last.life)
                yield entry.text
        await asyncio.sleep(AGAIN_S)  # it has gone: the journal was rotated away, or is being restarted


async def _next_line(stream: asyncio.StreamReader) -> bytes:
    """Return the next line; an entry that is longer than anybody prints who means to be read is passed over."""
    while True:
        try:
            return await stream.readline()
        except ValueError:
            continue


def _cannot_be_run(unit: str, error: OSError) -> EngineRefused:
    return EngineRefused(f"cannot read the journal of {unit}: {error}; is journalctl installed?")


async def _ending(unit: str, *, max_bytes: int, limit_s: float, journalctl: Sequence[str]) -> tuple[bytes, "Entry"]:
    """Return the end of what was printed, and its last entry."""
    try:
        async with asyncio.timeout(limit_s):
            await _let_it_catch_up(journalctl)
            return await _read(unit, max_bytes=max_bytes, journalctl=journalctl)
    except TimeoutError as error:
        raise EngineUnreachable(f"did not read the journal of {unit} within {limit_s:g}s") from error


async def _let_it_catch_up(journalctl: Sequence[str]) -> None:
    """Have the journal take in what is on its way: the last words of a server are the ones that matter.

    Only root may ask for that; without it they are there a moment later.
    """
    if os.geteuid() != 0:
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SYNC_WITHIN_S), _running(journalctl, "--sync") as process:
            await process.wait()


async def _read(unit: str, *, max_bytes: int, journalctl: Sequence[str]) -> tuple[bytes, "Entry"]:
    lines = min(max_bytes, MOST_LINES)
    found: list[Entry] = []
    async with _running(journalctl, *ASK, "--reverse", f"--lines={lines}", f"_SYSTEMD_UNIT={unit}") as process:
        assert process.stdout is not None  # noqa: S101 - we have asked for it
        assert process.stderr is not None  # noqa: S101
        while sum(len(entry.text) for entry in found) < max_bytes:
            try:
                line = await process.stdout.readline()
            except ValueError:  # longer than anybody prints who means to be read
                break
            if not line:
                await _refuse_if_it_failed(process, unit)
                break
            found.append(Entry.of(line))
    text = b"".join(entry.text for entry in reversed(found))[-max_bytes:]
    return text, found[0] if found else Entry()


async def _refuse_if_it_failed(process: Process, unit: str) -> None:
    assert process.stderr is not None  # noqa: S101
    words = (await process.stderr.read(MOST_OF_WORDS)).decode(errors="replace").strip()
    if await process.wait() != 0:
        cure = "; add the supervisor's user to the group systemd-journal" if "permission" in words else ""
        raise EngineRefused(f"cannot read the journal of {unit}: {words or 'journalctl failed'}{cure}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of the journal: what was printed, where it stands, and in which life of the unit."""

    text: bytes = b""
    cursor: str | None = None
    life: str | None = None

    @classmethod
    def of(cls, line: bytes) -> Self:
        """Read an entry as journalctl writes it; one that cannot be read has printed nothing."""
        try:
            entry: dict[str, Any] = json.loads(line)
            cursor, life = entry.get("__CURSOR"), entry.get("_SYSTEMD_INVOCATION_ID")
        except (ValueError, AttributeError):
            return cls()
        return cls(
            text=printed(entry),
            cursor=cursor if isinstance(cursor, str) else None,
            life=life if isinstance(life, str) else None,
        )


def printed(entry: Mapping[str, Any]) -> bytes:
    """Return what was printed of one entry, with its line's end where it had one."""
    message = entry.get("MESSAGE")
    try:
        # Whatever is not plain text comes as numbers; of a field that was given twice comes a list of either.
        printed = bytes(message) if isinstance(message, list) else str(message or "").encode()
    except (ValueError, TypeError):
        return b""
    return printed if entry.get("_LINE_BREAK") else printed + b"\n"


@contextlib.asynccontextmanager
async def _running(journalctl: Sequence[str], *arguments: str) -> Any:
    """Run journalctl, and leave nothing of it behind."""
    environment = {name: value for name, value in os.environ.items() if name in INHERITED}
    process = await asyncio.create_subprocess_exec(
        *journalctl,
        *arguments,
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
        env=environment,
        limit=MOST_OF_A_LINE,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # it may be run by another program
        # What it has printed beyond what we wanted must be taken, or its pipes stay open.
        await process.communicate()
