"""A callback for the LiteLLM proxy: it obeys benchai-supervisor's liveness, and tells it how requests went.

Put it beside the proxy's configuration, with `benchai_routing.py` and with `supervisor/client.py` under the name
`benchai_liveness_client.py`, and name it there: `litellm_settings: {callbacks: benchai_liveness.handler}`.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import HTTPException
from litellm.integrations.custom_logger import CustomLogger

if TYPE_CHECKING:
    from integrations.litellm import benchai_routing as routing
    from supervisor.client import Backend, Liveness
else:
    # LiteLLM loads this file by its path, and would not find what lies beside it.
    sys.path.append(str(Path(__file__).resolve().parent))
    import benchai_routing as routing
    from benchai_liveness_client import Backend, Liveness

SOURCE = "/run/benchai-supervisor/liveness.json"
NOTE = "benchai"  # in a request's metadata: whom it was sent to, and about whom we have told
REST_S = 10.0  # that a deployment which failed is asked last, while no supervisor watches it


class BenchAILiveness(CustomLogger):  # type: ignore[misc]  # LiteLLM is not in our own environment
    """One per proxy worker. Nothing here waits: a file costs one `os.stat`, an address is followed by a thread."""

    def __init__(self, liveness: Liveness) -> None:
        super().__init__()
        self._liveness = liveness
        self._failed_at_s: dict[str, float] = {}  # by deployment

    async def async_filter_deployments(
        self,
        model: str,
        healthy_deployments: list[routing.Deployment],
        *_: Any,
        request_kwargs: dict[str, Any] | None = None,
        **__: Any,
    ) -> list[routing.Deployment]:
        """Leave to LiteLLM's choice those that may be asked, best class only. Raises NoneRoutable."""
        snapshot, request = self._liveness.snapshot(), request_kwargs or {}
        avoid = routing.tried(request) if snapshot.known else routing.tried(request) | self._resting()
        chosen = routing.candidates(snapshot, model, healthy_deployments, avoid=avoid)
        note = routing.notes_of(request).setdefault(NOTE, {"asked": {}, "told": []})
        for each in chosen:
            if entry := routing.backend_of(snapshot, each):
                note["asked"][routing.id_of(each)] = [entry.name, entry.instance]
        return chosen

    async def async_log_success_event(self, kwargs: Mapping[str, Any], *_: Any, **__: Any) -> None:
        """Report an answer; one from LiteLLM's cache says nothing about a server."""
        request = kwargs.get("litellm_params") or {}
        self._failed_at_s.pop(routing.id_of(request), None)
        if (asked := self._asked(request)) and not kwargs.get("cache_hit"):
            self._liveness.report(asked, ok=True, first_token_s=_first_token_s(kwargs))

    async def async_post_call_failure_deployment_hook(
        self, request_data: Mapping[str, Any], exception: Exception, *_: Any, **__: Any
    ) -> None:
        """Report each attempt that failed before its answer began."""
        self._tell_failure(request_data, exception)

    async def async_log_failure_event(self, kwargs: Mapping[str, Any], *_: Any, **__: Any) -> None:
        """Report a stream that broke. The first failed attempt of a request comes here too, and is told once."""
        error = kwargs.get("exception")
        if isinstance(error, Exception):
            self._tell_failure(kwargs.get("litellm_params") or {}, error)

    async def async_post_call_failure_hook(
        self, request_data: Mapping[str, Any], original_exception: Exception, *_: Any, **__: Any
    ) -> HTTPException | None:
        """Give the client an honest status, and say when to come back, where we refused or no server answered."""
        client_chose = bool(request_data.get("client_side_timeout"))
        refusal = routing.refusal_of(original_exception, client_chose_timeout=client_chose)
        if refusal is None:
            return None
        status, reason, headers = refusal
        if isinstance(original_exception, routing.NoneRoutable):
            original_exception.status_code = status  # /v1/completions and /v1/messages drop what a hook returns
        return HTTPException(status, detail=reason, headers=headers)

    def _tell_failure(self, request: Mapping[str, Any], error: Exception) -> None:
        asked, deployment = self._asked(request), routing.id_of(request)
        told = routing.notes_of(request).get(NOTE, {}).get("told", [])
        fault = routing.blame(error, client_chose_timeout=bool(request.get("client_side_timeout")))
        if fault is None or deployment in told:
            return
        told.append(deployment)
        self._failed_at_s[deployment] = time.monotonic()
        if asked and not self._is_lost(asked.name):
            self._liveness.report(asked, ok=False, error=fault)

    def _asked(self, request: Mapping[str, Any]) -> Backend | None:
        """Return whom a request was sent to, in the life it had then: what comes of it is not a later life's doing."""
        noted = routing.notes_of(request).get(NOTE, {}).get("asked", {}).get(routing.id_of(request))
        return Backend(name=noted[0], url="", instance=noted[1]) if noted else None

    def _is_lost(self, name: str) -> bool:
        snapshot = self._liveness.snapshot()
        entry = snapshot.find(name)
        return snapshot.known and entry is not None and not entry.routable and entry.verdict in routing.LOST

    def _resting(self) -> set[str]:
        now_s = time.monotonic()
        return {each for each, at_s in self._failed_at_s.items() if now_s - at_s < REST_S}


def _first_token_s(kwargs: Mapping[str, Any]) -> float | None:
    """Return the time to the first piece of a stream; an answer in one piece has none."""
    began, came = kwargs.get("api_call_start_time"), kwargs.get("completion_start_time")
    if kwargs.get("stream") and isinstance(began, datetime) and isinstance(came, datetime):
        return max(0.0, (came - began).total_seconds())
    return None


def _from_environment(env: Mapping[str, str]) -> BenchAILiveness:
    source = env.get("BENCHAI_LIVENESS") or SOURCE
    try:
        return BenchAILiveness(
            Liveness(
                source,
                follow="://" in source,
                report_to=env.get("BENCHAI_LIVENESS_REPORT_TO"),
                token=env.get("BENCHAI_SUPERVISOR_TOKEN"),
            )
        )
    except ValueError as error:
        raise ValueError(f"BENCHAI_LIVENESS or BENCHAI_LIVENESS_REPORT_TO: {error}") from error


handler = _from_environment(os.environ)
