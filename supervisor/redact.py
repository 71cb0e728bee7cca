"""Take out of a server's log what may be a user's words or a secret, before it is kept.

Servers print neither by default, and both once somebody has turned their logging up. What is taken out is said.
"""

import re

LONGEST_LINE = 400  # what servers print of themselves is shorter; requests and prompts are longer
LEFT_OUT = "[left out: it may hold what a user wrote]"
HIDDEN = "[hidden]"

# Fields of requests and answers, in JSON and in the ways that servers print them.
USERS_WORDS = re.compile(
    r"""["']?\b(?:prompt|content|messages|text|input|system|query|completion|reasoning_content|tool_calls|arguments)"""
    r"""\b["']?\s*[:=]\s*["'\[{]""",
    re.IGNORECASE,
)
SECRETS = re.compile(
    r"""(?P<what>(?:(?:authorization["']?\s*[:=]\s*["']?)?bearer\s+"""
    r"""|(?:authorization|api[-_ ]?key|token|secret|password)["']?\s*[:= ]\s*["']?))"""
    r"""(?P<secret>[^\s"',;]{4,})""",
    re.IGNORECASE,
)
KEYS = re.compile(r"\b(?:sk|hf|ghp|glpat|xox[abp])[-_][A-Za-z0-9_-]{8,}")


# How a server begins a line of its own; what follows a line that was left out, and begins otherwise, belongs to it.
BEGINS_ANEW = re.compile(
    r"\s*(?:\[|\d{2,4}[-/.:\d]|(?:INFO|WARN|ERROR|DEBUG|TRACE|time=|srv|slot|que|res|main|llama|ggml|load)\b)"
)


def redacted(log: str) -> str:
    """Return `log` line by line, without what may be a user's words or a secret."""
    lines: list[str] = []
    for line in log.splitlines():
        belongs = bool(lines) and lines[-1] == LEFT_OUT and not BEGINS_ANEW.match(line)
        if not belongs:
            lines.append(LEFT_OUT if USERS_WORDS.search(line) else _line(line))
    return "\n".join(lines)


def _line(line: str) -> str:
    if len(line) > LONGEST_LINE:
        line = f"{line[:LONGEST_LINE]} [and {len(line) - LONGEST_LINE} characters more]"
    return KEYS.sub(HIDDEN, SECRETS.sub(lambda match: f"{match['what']}{HIDDEN}", line))
