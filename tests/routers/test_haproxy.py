"""HAProxy with our configuration and the agent checks keeps the routers' contract."""

from testbed.routers.haproxy import HaproxyRouter
from tests.routers.contract import RouterContract


class TestHaproxy(RouterContract):
    """`integrations/haproxy/haproxy.cfg`, unchanged, in front of real servers."""

    router = HaproxyRouter
