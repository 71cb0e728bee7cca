"""The project's own small router keeps the routers' contract."""

from testbed.routers.example import ExampleRouter
from tests.routers.contract import RouterContract


class TestExample(RouterContract):
    """`examples/router.py` in front of real servers."""

    router = ExampleRouter
