"""What a server's command line says about its manners. Pure, and keeps nothing of it but the answer."""

import math
import shlex
from collections.abc import Iterable, Iterator, Mapping

SLEEP_FLAG = "--sleep-idle-seconds"
SLEEP_VARIABLE = "LLAMA_ARG_SLEEP_IDLE_SECONDS"


def sleep_idle_s(arguments: Iterable[str], environment: Mapping[str, str]) -> float | None:
    """Return after how many idle seconds a llama.cpp server puts its model away; None where it is not told to.

    As the server itself has it: a flag wins over the variable, whatever it says, and the last flag over earlier ones.
    """
    told = environment.get(SLEEP_VARIABLE)
    words = _words(arguments)
    for word in words:
        name, is_joined, value = word.partition("=")
        if name.replace("_", "-") == SLEEP_FLAG:
            told = value if is_joined else next(words, "")
    return _seconds(told or "")


def _words(arguments: Iterable[str]) -> Iterator[str]:
    """Yield the arguments, and the words of one that is a whole command line: `sh -c "llama-server ..."`."""
    for argument in arguments:
        if SLEEP_FLAG in argument.replace("_", "-") and len(argument.split()) > 1:
            yield from _split(argument)
        else:
            yield argument


def _split(line: str) -> list[str]:
    line = line.replace("\\\n", "")  # a line that goes on; shlex would put the break into the word
    try:
        return shlex.split(line)
    except ValueError:  # a quote that is never closed: then it is some other language, or a mistake
        return line.split()


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds > 0 else None
