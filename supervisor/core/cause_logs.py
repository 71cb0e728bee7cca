"""Find the cause in what a server printed last: the sentences of `cause_signs*.py`, in the log of its present life.

Pure, and bounded whatever the log holds: a few KiB of it, line by line, each line cut. A log holds earlier lives,
things that passed, and what users wrote (some servers print it): so a sentence counts only at the beginning of a line,
after what the server puts before each line, and only where nothing that came later makes it void.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from supervisor.core.cause import Finding, Sign, shortened
from supervisor.core.cause_signs import GPU, LLAMA_CPP
from supervisor.core.cause_signs_others import OLLAMA, VLLM

MOST_READ = 8192  # characters, from the end
MOST_OF_A_LINE = 400
# A start that fails is told about in a log's very last lines: the only ones that count once a server has been up, since
# what it says of its flags is all that some print of a new life.
LAST_LINES = 8

COLOURS = re.compile(r"\x1b\[[0-9;]{0,12}m")
# What stands before a sentence: a router's child (llama.cpp), the process, level, time and place (vLLM), time and level
# and part (llama.cpp), and the names of functions and exceptions. Not `error:`, which is the sentence of many.
FRAME = re.compile(
    r"(?:\[\d{1,7}\] )?"
    r"(?:\([\w ,=-]{1,60}\) ){0,2}"
    r"(?:\[[\w-]{1,20}\] )?"
    r"(?:(?:INFO|WARNING|ERROR|CRITICAL) \d\d-\d\d \d\d:\d\d:\d\d )?"
    r"(?:\[?[\w./]{1,60}:\d{1,5}\] )?"
    r"(?:\d{1,6}\.\d\d\.\d{3}\.\d{3} [A-Z] )?"
    r"(?:(?:srv|cmn|slot|que|res) {1,20})?"
    r"(?:(?!error:)[\w~./-]{1,80}(?:\(\))?: {1,5}){0,2}",
    re.ASCII,
)
OLLAMA_FRAME = re.compile(r"time=\S{1,40} level=(?P<level>[A-Z]{4,5}) ")

SIGNS = (*GPU, *LLAMA_CPP, *VLLM)

# A new life of a server, or a model that is loaded anew: whatever was wrong before is past.
BEGINS = re.compile(r"loading model '|build(?:_info)?: |build = |system_info: |vLLM API server version")
OLLAMA_BEGINS = re.compile(r'msg="?(?:Listening on|starting runner|starting llama server|llama runner started)')
UP = re.compile(r"(?:server is )?listening on (?:http|unix)|model loaded$|Application startup complete")
# Somebody got a whole answer: what went wrong before did not last.
ANSWERED = re.compile(
    r"\s{0,12}(?:id {1,4}\d{1,4} \| task \d{1,9} \| {1,12})?(?:prompt )?eval time ="
    r'|[\d.:]{1,50} - "POST /v1/[\w/]{1,40} HTTP/1\.\d" 200'
)
GIN_ANSWERED = re.compile(r"\[GIN\] [^|\n]{1,40}\| 200 \|.{1,80}\bPOST\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """What is known of the life that a log is in at some line."""

    is_up: bool = False
    found: Finding | None = None
    hint: Finding | None = None
    path: str = ""


def read_log(log_tail: str, *, is_up: bool) -> Finding | None:
    """Return what the end of a log tells, None where it tells nothing that we know.

    Of the sentences of the present life the last one counts, and hints only where there is nothing better. `is_up`: the
    server runs and has shown what it can do, so whatever is said of a start is of an earlier one.
    """
    life = _present_life(log_tail, is_up=is_up)
    finding = life.found or life.hint
    if finding is not None and finding.lacks_path and life.path:
        return replace(finding, says=shortened(f"{finding.says}: {life.path}"))
    return finding


def had_come_up(log_tail: str) -> bool:
    """Return whether the server was ready at some time of its present life, as far as its log tells."""
    return _present_life(log_tail, is_up=False).is_up


def _present_life(log_tail: str, *, is_up: bool) -> Life:
    lines = _lines(log_tail)
    life = Life()
    for number, line in enumerate(lines):
        is_late = len(lines) - number <= LAST_LINES
        life = _after(line, life, may_be_start=not is_up and (is_late or not life.is_up))
    return life


def _lines(log_tail: str) -> Sequence[str]:
    lines = log_tail[-MOST_READ:].splitlines()
    if len(log_tail) > MOST_READ:
        lines = lines[1:]  # its beginning is cut off
    return [COLOURS.sub("", line[: 2 * MOST_OF_A_LINE])[:MOST_OF_A_LINE].strip() for line in lines if line.strip()]


def _after(line: str, life: Life, *, may_be_start: bool) -> Life:
    if GIN_ANSWERED.match(line):
        return Life(is_up=True)
    if ollama := OLLAMA_FRAME.match(line):
        return _after_ollama(line[ollama.end() :], life, level=ollama["level"])
    frame = FRAME.match(line)
    rest = line[frame.end() :] if frame else line
    if BEGINS.match(rest):
        return Life()
    if UP.match(rest) or ANSWERED.match(rest):
        return Life(is_up=True)
    for sign in SIGNS:
        if match := sign.pattern.match(rest):
            return life if sign.at_start and not may_be_start else _learned(life, sign, match)
    return life


def _after_ollama(rest: str, life: Life, *, level: str) -> Life:
    if OLLAMA_BEGINS.search(rest):
        return Life(is_up=True)
    if level not in ("ERROR", "WARN"):  # the others may repeat what a user wrote
        return life
    for sign in OLLAMA:
        if match := sign.pattern.search(rest):
            return _learned(life, sign, match)
    return life


def _learned(life: Life, sign: Sign, match: re.Match[str]) -> Life:
    finding, path = sign.read(match), match.groupdict().get("path") or life.path
    if finding.is_hint:
        return replace(life, hint=finding, path=path)
    return replace(life, found=finding, path=path)
