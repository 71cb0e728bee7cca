"""Tells what targets printed, as text: the end of it, and then what comes, from one life into the next."""

import codecs
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from supervisor.engines.base import Engine, NewLife
from supervisor.errors import TargetMissing


class Printed:
    """Reads targets' logs."""

    def __init__(self, engine_of: Callable[[str], tuple[Engine, str] | None]) -> None:
        """`engine_of` returns a target's engine, and by which name it knows it."""
        self._engine_of = engine_of

    async def log(self, name: str, *, max_bytes: int, lines: int | None) -> AsyncGenerator[str, None]:
        """Yield the end of what `name` printed, the last `lines` of it at most, and then what it prints.

        Raises SupervisorError before the first.
        """
        engine, engine_name = _found(self._engine_of(name), name)
        # A character may come in two pieces.
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        at_line_start, is_first = True, True
        async with aclosing(engine.follow_log(engine_name, max_bytes=max_bytes)) as told:
            async for piece in told:
                if isinstance(piece, NewLife):
                    text = f"{'' if at_line_start else chr(10)}--- {name} was started anew ---\n"
                else:
                    text = decoder.decode(piece)
                if is_first and lines is not None:
                    text = last_lines(text, lines)
                is_first = False
                at_line_start = text.endswith("\n") if text else at_line_start
                yield text


def _found(known: tuple[Engine, str] | None, name: str) -> tuple[Engine, str]:
    if known is None:
        raise TargetMissing(f"{name} is watched no more: the settings have changed")
    return known


def last_lines(text: str, lines: int) -> str:
    """Return the last `lines` of a text; one that has not ended yet is a line."""
    return "".join(text.splitlines(keepends=True)[-lines:]) if lines > 0 else ""
