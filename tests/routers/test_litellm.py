"""The LiteLLM proxy keeps the routers' contract with our callback in it, from the liveness file."""

from testbed.routers.litellm import LiteLLMRouter
from tests.routers.contract import RouterContract


class TestLiteLLM(RouterContract):
    """The whole contract."""

    router = LiteLLMRouter
