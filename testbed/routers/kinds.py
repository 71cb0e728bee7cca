"""The routers there are, by the word one chooses them with (`make run ROUTER=haproxy`)."""

from importlib import import_module
from typing import Final

from testbed.routers.base import Router

KINDS: Final = {
    "example": "testbed.routers.example:ExampleRouter",
    "haproxy": "testbed.routers.haproxy:HaproxyRouter",
    "litellm": "testbed.routers.litellm:LiteLLMRouter",
    "benchai": "testbed.routers.benchai:BenchaiRouter",
}


def router_class(kind: str) -> type[Router]:
    """Return the class of a kind of router; only then are its parts imported, and installed once it is made.

    Raises:
        ValueError: there is no such kind.
    """
    if kind not in KINDS:
        raise ValueError(f"ROUTER={kind} is none that we know; choose one of {', '.join(KINDS)}")
    module, _, name = KINDS[kind].partition(":")
    found: type[Router] = getattr(import_module(module), name)
    return found
