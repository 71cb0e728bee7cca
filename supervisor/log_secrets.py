"""What no log line may hold: the secrets in our settings, whatever looks like one, and users' words.

Our own messages are made of our own words and of short ones of servers; those of libraries, and of errors that nobody
foresaw, may quote anything: a request with its headers, or its body. Hence two measures.
"""

from collections.abc import Iterable

from supervisor.engines.masked import MASK, without_credentials
from supervisor.redact import LEFT_OUT, redacted

__all__ = ["LEFT_OUT", "Secrets"]

SHORTEST = 4  # a shorter one is a word that stands for none, and hiding it would hide half of every line
MOST = 1000


class Secrets:
    """Takes out of words what must not be in them."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._known: tuple[str, ...] = ()
        self.add(known)

    def add(self, secrets: Iterable[str]) -> None:
        """Hide these too, from now on; those of before stay hidden: whoever had one may quote it for long."""
        new = [each for each in secrets if len(each) >= SHORTEST]
        known = dict.fromkeys([*new, *self._known])  # the latest first, should there be too many
        self._known = tuple(sorted(list(known)[:MOST], key=len, reverse=True))  # one may be a part of another

    def out_of_ours(self, text: str) -> str:
        """Return one of our own messages without what is known or looks like a secret."""
        return without_credentials(self._without_known(text))

    def out_of_theirs(self, text: str) -> str:
        """Return somebody else's words without that, without what is given to a telling name, and what users wrote."""
        return redacted(self._without_known(text))

    def _without_known(self, text: str) -> str:
        for each in self._known:
            text = text.replace(each, MASK)
        return text
