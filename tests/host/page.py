"""A page of docs/ as a script: the commands under one of its headings, as they stand there."""

import re

from testbed.cache import REPOSITORY


def commands(page: str, heading: str) -> list[str]:
    """Return the shell blocks under a heading, down to the next one of its rank."""
    text = (REPOSITORY / page).read_text()
    level = heading.split(" ", 1)[0]
    _, found, rest = text.partition(f"{heading}\n")
    assert found, f"{page} has no heading {heading!r}"
    section = re.split(rf"^{level} ", rest, maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
