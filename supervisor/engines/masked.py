"""Take secrets out of what a target was given to run with, before anybody keeps or shows it. Pure.

It goes by names alone, and generously: to hide a word too many costs a word, to hide one too few gives a key away.
"""

import re
from collections.abc import Iterable
from itertools import islice

from supervisor.core.cause import cleaned

MASK = "***"
MOST_READ = 2048  # characters of one argument; a chat template may have more, and nobody misses its rest
MOST_ARGUMENTS = 256
MOST_NAMES = 64
MOST_SHOWN = 300  # characters of a word

# A tokenizer is no token. `-hft` is llama.cpp's short for --hf-token.
# Looked for ahead and then taken whole, so that no long word is read more than twice.
TELLING = r"(?:key|token(?!i[sz])|secret|pass|pwd|cred|auth|cookie)"
NAME = rf"(?<![\w.-])(?P<name>(?=[\w.-]*?{TELLING})[\w.-]*+|--?hft)"
# One word as a shell reads it. A quote that is never closed, as at the end of a nested command line, hides the rest.
WORD = r"""(?:"(?:[^"\\]|\\.)*(?:"|\\?\Z)|'[^']*(?:'|\Z)|\\.|\\\Z|[^\s'"\\])+"""
# Several values, as Python and JSON write them. Where a quote or the bracket is never closed, all the rest.
LIST = r"""\[(?:"(?:[^"\\]|\\.)*(?:"|\\?\Z)|'(?:[^'\\]|\\.)*(?:'|\\?\Z)|[^\]'"])*\]?"""
FLAG = re.compile(rf"(?=-){NAME}", re.IGNORECASE)
HOLDS_A_LINE = re.compile(r"-[a-zA-Z]*c")  # sh -c, bash -lc
CREDENTIALS = re.compile(r"(?<![a-z\d+.-])([a-z][a-z\d+.-]*://)[^\s/'\"]*@", re.IGNORECASE)
BEARER = re.compile(r"\b(bearer|basic)(\s+)[^\s'\",;]+", re.IGNORECASE)
# `Authorization: Token value`, whatever the scheme; the scheme itself is hidden as any value is.
SCHEME = re.compile(r"""(authorization["']?\s*[:=]+\s*["']?[\w-]+\s+)[^\s'",;]+""", re.IGNORECASE)
KNOWN_SHAPES = re.compile(
    r"(?<![\w-])(?:hf_|sk[-_]|gh[oprsu]_|github_pat_|glpat-|xox[abeprs]-|nvapi-|gsk_|A[KS]IA|AIza|eyJ)[\w.-]{10,}"
)
PATH = re.compile(r"/[\w./@+-]*")


def _assigned(value: str) -> re.Pattern[str]:
    """Return what finds `name=value`, `"name": "value"` and the like."""
    return re.compile(rf"{NAME}(?P<between>[\"'\])}}]*\s*[=:]+\s*)(?P<value>{value})", re.IGNORECASE | re.DOTALL)


def _given(value: str) -> re.Pattern[str]:
    """Return what finds `--name value` within one text."""
    return re.compile(rf"(?=-){NAME}(?P<between>[\"']?(?:\s|\\\n)+)(?P<value>{value})", re.IGNORECASE | re.DOTALL)


# In one argument nobody can tell where a value ends but at the argument's end; in a line for a shell, its quotes tell.
IN_AN_ARGUMENT = (_assigned(".+"), _given(".+"))
IN_A_LINE = (_assigned(rf"{LIST}|{WORD}"), _given(rf"{WORD}(?:\s+(?!-){WORD})*"))


def masked(arguments: Iterable[str]) -> list[str]:
    """Return a command line with every value hidden that is given to something which sounds like a secret.

    Such a flag may take several values (vLLM's --api-key does), so they are hidden up to the next flag.
    """
    shown: list[str] = []
    flag = previous = ""
    for argument in arguments:
        if FLAG.fullmatch(previous):
            flag = previous  # whatever comes now, even if it looks like a flag itself
        elif argument.startswith("-"):
            flag = ""
        if not flag:
            shown.append(_scrubbed(argument, is_line=bool(HOLDS_A_LINE.fullmatch(previous))))
        elif _is_harmless(flag, argument):
            shown.append(argument)
            flag = ""
        else:
            shown.append(MASK)
        previous = argument
    return shown


def told_command(arguments: Iterable[str]) -> list[str]:
    """Return a command line as it may be kept and shown."""
    return [cleaned(each, most=MOST_SHOWN) for each in masked(islice(arguments, MOST_ARGUMENTS))]


def told_names(variables: Iterable[str]) -> list[str]:
    """Return the names of `NAME=value` variables, and nothing of their values."""
    names = (variable.partition("=")[0] for variable in variables if "=" in variable)
    return sorted(cleaned(name, most=MOST_SHOWN) for name in islice(names, MOST_NAMES))


def without_secrets(text: str) -> str:
    """Return somebody's words with what they quote of a command line's secrets hidden."""
    return _scrubbed(text, is_line=True)


def without_credentials(text: str) -> str:
    """Return words with what is a secret by its shape hidden: in an address, in a header, or as keys are made."""
    text = CREDENTIALS.sub(rf"\1{MASK}@", text)
    return KNOWN_SHAPES.sub(MASK, SCHEME.sub(rf"\1{MASK}", BEARER.sub(rf"\1\2{MASK}", text)))


def _scrubbed(text: str, *, is_line: bool) -> str:
    text = without_credentials(text[:MOST_READ])
    for pattern in IN_A_LINE if is_line else IN_AN_ARGUMENT:
        text = pattern.sub(_hidden, text)
    return text


def _hidden(match: re.Match[str]) -> str:
    name, between, value = match["name"], match["between"], match["value"]
    return f"{name}{between}{value if _is_harmless(name, value) else MASK}"


def _is_harmless(name: str, value: str) -> bool:
    """Return whether it is a number of tokens, a name that Python missed, or only the place where a secret lies."""
    name = name.lower()
    is_count = name.endswith(("tokens", "token_ids_len")) and value.rstrip(",;.)]}").isdecimal()
    return is_count or name == "keyerror" or (name.endswith(("file", "path")) and PATH.fullmatch(value) is not None)
