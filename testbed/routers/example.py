"""The project's own small router, which uses `supervisor.client`."""

import sys
from collections.abc import Mapping, Sequence

import httpx

from testbed.cache import REPOSITORY
from testbed.routers.base import Router


class ExampleRouter(Router):
    """`examples/router.py`."""

    kind = "example"

    def command(self) -> Sequence[str]:
        """Return its command line; it needs no file."""
        backends = [word for name, url in self.served.backends.items() for word in ("--backend", f"{name}={url}")]
        return [
            sys.executable,
            *("-m", "examples.router", "--liveness", str(self.served.liveness_file), "--port", str(self.port)),
            *backends,
        ]

    def environment(self) -> Mapping[str, str]:
        """Let it be found wherever it is run."""
        return {"PYTHONPATH": str(REPOSITORY)}

    def is_answering(self) -> bool:
        """Say whether it takes requests."""
        return httpx.get(f"{self.url}/health", timeout=2.0, trust_env=False).is_success
