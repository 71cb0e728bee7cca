"""Read a target's log from the daemon, as text, to its end or for as long as it goes on."""

import codecs
from collections.abc import Iterator

from supervisor.cli.http import Daemon
from supervisor.cli.text import clean

MOST_AT_ONCE = 64 * 1024


def printed(daemon: Daemon, name: str, *, most_bytes: int | None, lines: int | None, follow: bool) -> Iterator[str]:
    """Yield what target `name` printed, line by line, and with `follow` what it prints.

    What cannot be shown is replaced: a server's words may hold what moves a terminal's cursor.
    """
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    text = ""
    for piece in daemon.log(name, most_bytes=most_bytes, lines=lines, follow=follow, at_once=MOST_AT_ONCE):
        text += decoder.decode(piece)
        *whole, text = text.split("\n")
        yield from map(_shown, whole)
    if text:
        yield _shown(text)


def _shown(line: str) -> str:
    return clean(line.rstrip("\r").replace("\t", "    "))
