"""The LiteLLM proxy keeps the routers' contract with our callback in it, told by the liveness file."""

from typing import ClassVar

import pytest

from testbed.routers.base import Router
from testbed.routers.litellm import LiteLLMRouter
from tests.routers.contract import RouterContract


class TestLiteLLM(RouterContract):
    """The whole contract."""

    router: ClassVar[type[Router]] = LiteLLMRouter
    pytestmark: ClassVar = [pytest.mark.slow, pytest.mark.timeout(600)]  # the first run installs the proxy
