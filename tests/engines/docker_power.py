"""The calls that docs/security.md allows, and the lines of the proxy's configuration that follow from them."""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from testbed.cache import REPOSITORY
from testbed.debian import NotToBeHad
from testbed.docker_proxy import Call, DockerProxy
from tests.cannot import cannot

PAGE: Final = REPOSITORY / "docs" / "security.md"
ROW: Final = re.compile(r"^\| `([A-Z]+) (/\S*)` \| (.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)
# The API's own alphabets; nothing that could be read as another path.
PLACES: Final = {
    "{api}": r"v1\.(2[4-9]|[3-9][0-9])",
    "{container}": "[a-zA-Z0-9][a-zA-Z0-9_.-]*",
    "{image}": "(sha256:)?[0-9a-f]{64}",
}
WHAT_TO_DO: Final = (
    "a call that is new: can it be done without? If not, add a line to the table in docs/security.md and the same to"
    " integrations/docker-proxy/haproxy.cfg, and say on that page what it lets an attacker do"
)


@dataclass(frozen=True, slots=True)
class Allowed:
    """One line of the table."""

    method: str
    path: str
    of_sdk: tuple[str, ...]
    asked_by: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def expression(self) -> str:
        """What matches such a call, its method and its path."""
        path = self.path
        for place, alphabet in PLACES.items():
            path = path.replace(place, alphabet)
        return f"^{self.method} {path}$"

    def is_met_by(self, call: Call) -> bool:
        return re.match(self.expression, str(call)) is not None


def table() -> list[Allowed]:
    """Return the calls that the page allows."""
    return [
        Allowed(method, path, names_in(of_sdk), names_in(asked_by))
        for method, path, of_sdk, asked_by, _ in ROW.findall(PAGE.read_text())
    ]


def names_in(cell: str) -> tuple[str, ...]:
    return tuple(re.findall(r"`(\w+)`", cell))


@contextlib.contextmanager
def little_power(host: str, **more: Any) -> Iterator[DockerProxy]:
    """Put a proxy before the engine at `host`; `more` goes to it as it is."""
    with DockerProxy(host, **more) as proxy:
        try:
            proxy.start()
        except NotToBeHad as problem:
            cannot(f"no HAProxy: {problem}")
        yield proxy
