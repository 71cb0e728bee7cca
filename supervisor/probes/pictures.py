"""Paint the vision canary's picture: a plain square that any decoder takes, in a colour of its own.

Servers keep what a picture means by its hash, so one that had been shown before would prove nothing. There are 16
million colours.
"""

import base64
import struct
import zlib

SIDE = 64  # pixels; some models refuse less than one patch of 28
RGB, BITS = 2, 8


def as_url(colour: bytes) -> str:
    """Return a PNG of one `colour`, three bytes, as a `data:` URL."""
    return "data:image/png;base64," + base64.b64encode(png(colour)).decode()


def png(colour: bytes) -> bytes:
    """Return a PNG of one `colour`, three bytes."""
    line = b"\0" + colour * SIDE  # every line begins with its filter: none
    head = struct.pack(">IIBBBBB", SIDE, SIDE, BITS, RGB, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(line * SIDE)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
