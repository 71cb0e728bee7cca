"""The end of what a unit printed, from the journal: read backwards by `journalctl`, until enough has come.

Bounded in time and in size: the reader is ended when it has told enough, and when it is late.
"""

import asyncio
import contextlib
import json
import os
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Sequence
from typing import Any

from supervisor.errors import EngineRefused, EngineUnreachable

JOURNALCTL = ("journalctl",)
# By what its processes printed, and not by `--unit`: that has systemd's own words about the unit in between.
ASK = ("--quiet", "--no-pager", "--all", "--output=json", "--output-fields=MESSAGE,_LINE_BREAK", "--reverse")
MOST_LINES = 1000
MOST_OF_A_LINE = 1 << 20  # as journalctl writes it, in which one byte may take four
MOST_OF_WORDS = 300
SYNC_WITHIN_S = 1.0
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
        async with asyncio.timeout(limit_s):
            await _let_it_catch_up(journalctl)
            return (await _read(unit, max_bytes=max_bytes, journalctl=journalctl)).decode(errors="replace")
    except TimeoutError as error:
        raise EngineUnreachable(f"did not read the journal of {unit} within {limit_s:g}s") from error
    except OSError as error:
        raise EngineRefused(f"cannot read the journal of {unit}: {error}; is journalctl installed?") from error


async def _let_it_catch_up(journalctl: Sequence[str]) -> None:
    """Have the journal take in what is on its way: the last words of a server are the ones that matter.

    Only root may ask for that; without it they are there a moment later.
    """
    if os.geteuid() != 0:
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SYNC_WITHIN_S), _running(journalctl, "--sync") as process:
            await process.wait()


async def _read(unit: str, *, max_bytes: int, journalctl: Sequence[str]) -> bytes:
    lines = min(max_bytes, MOST_LINES)
    found: list[bytes] = []
    async with _running(journalctl, *ASK, f"--lines={lines}", f"_SYSTEMD_UNIT={unit}") as process:
        assert process.stdout is not None  # noqa: S101 - we have asked for it
        assert process.stderr is not None  # noqa: S101
        while sum(map(len, found)) < max_bytes:
            try:
                line = await process.stdout.readline()
            except ValueError:  # longer than anybody prints who means to be read
                break
            if not line:
                await _refuse_if_it_failed(process, unit)
                break
            found.append(printed(line))
    return b"".join(reversed(found))[-max_bytes:]


async def _refuse_if_it_failed(process: Process, unit: str) -> None:
    assert process.stderr is not None  # noqa: S101
    words = (await process.stderr.read(MOST_OF_WORDS)).decode(errors="replace").strip()
    if await process.wait() != 0:
        cure = "; add the supervisor's user to the group systemd-journal" if "permission" in words else ""
        raise EngineRefused(f"cannot read the journal of {unit}: {words or 'journalctl failed'}{cure}")


def printed(line: bytes) -> bytes:
    """Return what was printed of one entry, with its line's end where it had one."""
    try:
        entry: dict[str, Any] = json.loads(line)
        message = entry.get("MESSAGE")
        # Whatever is not plain text comes as numbers; of a field that was given twice comes a list of either.
        printed = bytes(message) if isinstance(message, list) else str(message or "").encode()
    except (ValueError, TypeError, AttributeError):
        return b""
    return printed if entry.get("_LINE_BREAK") else printed + b"\n"


@contextlib.asynccontextmanager
async def _running(journalctl: Sequence[str], *arguments: str) -> Any:
    """Run journalctl, and leave nothing of it behind."""
    environment = {name: value for name, value in os.environ.items() if name in INHERITED}
    process = await asyncio.create_subprocess_exec(
        *journalctl, *arguments, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, env=environment, limit=MOST_OF_A_LINE
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        # What it has printed beyond what we wanted must be taken, or its pipes stay open.
        await process.communicate()
