"""HAProxy, as Debian packages it, on the configuration that we ship: only addresses differ, by its environment."""

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

import httpx

from testbed.cache import REPOSITORY
from testbed.clients import LOOPBACK
from testbed.debian import ensure_tool
from testbed.routers.base import Router

CONFIGURATION: Final = REPOSITORY / "integrations" / "haproxy" / "haproxy.cfg"


class HaproxyRouter(Router):
    """`integrations/haproxy/haproxy.cfg`, unchanged. `extra` may hold more of its variables."""

    kind = "haproxy"
    configuration = CONFIGURATION

    def command(self) -> Sequence[str]:
        """Return its command line; Debian's package is installed where it is missing."""
        ensure_tool("haproxy", "haproxy")
        return ["haproxy", "-W", "-f", str(self.configuration)]

    def environment(self) -> Mapping[str, str]:
        """Say where everything is."""
        served = self.served
        agent = {} if served.agent_port is None else {"AGENT_PORT": str(served.agent_port)}
        return {
            "CLIENTS": f"{LOOPBACK}:{self.port}",
            "SUPERVISOR": urlsplit(served.supervisor_url).netloc,
            **{name.upper(): urlsplit(url).netloc for name, url in served.backends.items()},
            **agent,
            **served.extra,
        }

    def is_answering(self) -> bool:
        """Say whether it takes requests."""
        return httpx.get(f"{self.url}/health", timeout=2.0, trust_env=False).is_success
