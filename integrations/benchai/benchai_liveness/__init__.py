"""Make BenchAI's router obey the supervisor: it asks before it picks a model, refuses fast, and reports outcomes.

A folder to put beside `llm_router.py`, with the supervisor's `client.py` in it. Python 3.9 and later; it needs nothing
that the router does not have. Either start the router through it (`python -m benchai_liveness llm_router.py`), or call
`guard(globals())` in the router, just above `manager = ModelManager()` and just above `if __name__ == "__main__":`.
"""

from __future__ import annotations

import logging
from typing import Any

from .asking import watch_requests
from .choosing import guard_functions
from .desk import Desk
from .front import put_in_front
from .handover import hand_over

__all__ = ["guard"]

KEPT_AS = "__benchai_liveness__"  # in the router's namespace: the desk, which both calls share

log = logging.getLogger("benchai_liveness")


def guard(namespace: dict[str, Any]) -> None:
    """Guard whatever of the router is defined in `namespace` by now; call it as often as you like.

    Raises:
        ValueError: an environment variable of ours is wrong; the message names it and says what would be right.
    """
    desk = namespace.get(KEPT_AS)
    if desk is None:
        desk = namespace[KEPT_AS] = Desk.from_environment(lambda: namespace.get("MODELS"))
        watch_requests(desk)
    hand_over(desk, namespace)
    guarded = guard_functions(desk, namespace)
    if put_in_front(desk, namespace.get("app")):
        names = ", ".join(guarded) or "no function that it knows: see docs/routers/benchai.md"
        log.warning("[LIVENESS] follows %s; guards %s", desk.source, names)
