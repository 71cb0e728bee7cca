"""What the supervisor says, in the router's terms: may this model be asked, who else may, is a request lost.

Everything is read from the liveness at the moment of asking; where that is not known, nothing is refused.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from supervisor.client import DEFAULT_RETRY_AFTER_S, Backend, Liveness
else:
    try:
        from .client import DEFAULT_RETRY_AFTER_S, Backend, Liveness  # the copy beside this file
    except ImportError:
        from supervisor.client import DEFAULT_RETRY_AFTER_S, Backend, Liveness

from .words import Refusal

__all__ = ["Backend", "Desk"]

DEFAULT_SOURCE = "/run/benchai-supervisor/liveness.json"
DEFAULT_RESUME_AFTER_S = 120.0  # a supervisor that is upgraded is back sooner
# What was sent to one of these is lost. One that is out for another reason may finish what it has begun.
LOST = ("hung", "down", "failing", "warming")
NOT_FOR_TEXT = ("vision",)  # never asked in another model's place
OWN_NAMES = ("localhost", "::1")


class Desk:
    """Answers the router's questions. `own_models` gives the router's own table of models, or None."""

    def __init__(
        self,
        liveness: Liveness,
        own_models: Callable[[], Any],
        *,
        source: str = "",
        honest: bool = True,
        resume_after_s: float = DEFAULT_RESUME_AFTER_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.liveness = liveness
        self.source = source
        self.honest = honest
        self._own_models = own_models
        self._resume_after_s = resume_after_s
        self._clock = clock
        self._known_at_s = clock()

    @classmethod
    def from_environment(cls, own_models: Callable[[], Any]) -> Desk:
        """Read `BENCHAI_LIVENESS…`; the router's own `.env` counts, it is in the environment by then."""
        env = os.environ
        source = env.get("BENCHAI_LIVENESS") or DEFAULT_SOURCE
        liveness = Liveness(
            source,
            follow="://" in source,  # fetching takes time, and the router's event loop has none
            report_to=env.get("BENCHAI_LIVENESS_REPORT_TO"),
            token=env.get("BENCHAI_SUPERVISOR_TOKEN"),
        )
        return cls(
            liveness,
            own_models,
            source=source,
            honest=_switch(env.get("BENCHAI_LIVENESS_HONEST") or "1"),
            resume_after_s=_seconds(env.get("BENCHAI_LIVENESS_RESUME_AFTER_S") or str(DEFAULT_RESUME_AFTER_S)),
        )

    # --- models -------------------------------------------------------------------------------------------------------

    def own_models(self) -> list[str]:
        """Return the names that the router knows, in its order."""
        own = self._own_models()
        return [str(name) for name in own] if isinstance(own, dict) else list(self.liveness.snapshot().models)

    def is_model(self, name: object) -> bool:
        """Say whether `name` is a model's."""
        return isinstance(name, str) and (name in self.own_models() or name in self.liveness.snapshot().models)

    def refusal_of(self, *aliases: str) -> Refusal | None:
        """Return a refusal where a fresh document says that none of these models can answer."""
        choice = self.liveness.pick(*aliases) if aliases else None
        if choice is None or not choice.refuse:
            return None
        return Refusal(503, "no_backend_available", choice.reason, choice.retry_after_s)

    def retry_after_s(self, alias: str | None) -> float:
        """Return when to ask for `alias` again."""
        return self.liveness.pick(alias).retry_after_s if alias else DEFAULT_RETRY_AFTER_S

    def text_models(self) -> list[str]:
        """Return the models that `auto` may choose from."""
        return [alias for alias in self.own_models() if alias not in NOT_FOR_TEXT]

    def others(self, asked: str, failed: set[str]) -> Iterator[str]:
        """Yield, the best first, who may answer in the place of `asked`, itself included; `failed` are backends."""
        snapshot = self.liveness.snapshot()
        weights: dict[str, float] = {}
        for alias in [asked, *self.text_models()]:
            backends = [each for each in snapshot.models.get(alias, ()) if snapshot.is_routable(each.name)]
            if backends and not failed.intersection(each.name for each in snapshot.models[alias]):
                weights.setdefault(alias, backends[0].weight)
        yield from sorted(weights, key=lambda alias: -weights[alias])

    # --- backends -----------------------------------------------------------------------------------------------------

    def backend_at(self, host: str, port: int | None) -> Backend | None:
        """Return the backend that listens there, if the supervisor has ever named one."""
        place = (_plain(host), port)
        return next((each for each in self.liveness.snapshot().backends if _place(each.url) == place), None)

    def candidates(self, alias: str | None, home: Backend) -> list[Backend]:
        """Return who may be asked where the router means `home`, the best first: itself, or a stand-in for it."""
        snapshot = self.liveness.snapshot()
        if not snapshot.known:
            return [home]
        mine = [each.name for each in snapshot.models.get(alias or "", ())]
        choice = snapshot.pick(alias) if alias and home.name in mine else snapshot.pick(*(home.models or (home.name,)))
        return list(choice.candidates)

    def is_lost(self, name: str) -> bool:
        """Say whether a fresh document says that what was sent to `name` is lost."""
        snapshot = self.liveness.snapshot()
        entry = snapshot.find(name)
        return snapshot.known and entry is not None and not entry.routable and entry.verdict in LOST

    def word_on(self, name: str) -> str:
        """Return what the supervisor says about `name`, for people."""
        entry = self.liveness.snapshot().find(name)
        return f"{name} is {entry.verdict}: {entry.message or entry.reason}" if entry else f"{name} is unknown"

    # --- who restarts it ----------------------------------------------------------------------------------------------

    @property
    def is_known(self) -> bool:
        """Say whether there is a fresh document."""
        return self.liveness.snapshot().known

    def is_ours(self, alias: str) -> bool:
        """Say whether the supervisor looks after this model, so that the router must neither start nor stop it.

        While there is no fresh document that stays as it was, or open, for `resume_after_s`; then the router takes up
        again. A supervisor that only observes looks after nothing.
        """
        snapshot = self.liveness.snapshot()
        if snapshot.known:
            self._known_at_s = self._clock()
        elif self._clock() - self._known_at_s >= self._resume_after_s:
            return False
        if not snapshot.known and not snapshot.models:
            return True  # nobody has said yet whose they are
        return alias in snapshot.models and snapshot.mode != "observe"


def _plain(host: str) -> str:
    return "127.0.0.1" if host.strip("[]") in OWN_NAMES else host


def _place(url: str) -> tuple[str, int | None]:
    parts = urlsplit(url)
    return _plain(parts.hostname or ""), parts.port or (443 if parts.scheme == "https" else 80)


def _switch(value: str) -> bool:
    if value not in ("0", "1"):
        raise ValueError(f"BENCHAI_LIVENESS_HONEST={value!r}: 1 turns errors into error statuses, 0 leaves them be")
    return value == "1"


def _seconds(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise ValueError(f"BENCHAI_LIVENESS_RESUME_AFTER_S={value!r}: give a number of seconds, such as 120")
    return seconds
