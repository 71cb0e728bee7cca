"""The LiteLLM proxy obeys the supervisor over HTTP as it obeys the file: the contract's rules that depend on it."""

from collections.abc import Mapping
from typing import ClassVar

import pytest

from testbed.routers.base import Router
from testbed.routers.litellm import LiteLLMRouter
from tests.routers.contract import RouterContract


class FromUrl(LiteLLMRouter):
    """Follows the supervisor's stream of changes."""

    def environment(self) -> Mapping[str, str]:
        """Give it an address in place of the file."""
        return {**super().environment(), "BENCHAI_LIVENESS": self.served.supervisor_url}


class TestLiteLLMFromUrl:
    """Told in another way, it does the same."""

    router: ClassVar[type[Router]] = FromUrl
    pytestmark: ClassVar = [pytest.mark.slow, pytest.mark.timeout(600)]  # the first run installs the proxy

    test_a_request_is_answered = RouterContract.test_auto_is_answered_by_one_of_them
    test_once_told = RouterContract.test_once_it_is_told_nobody_is_sent_to_a_hung_backend
    test_busy = RouterContract.test_a_busy_backend_is_preferred_less
    test_refusals = RouterContract.test_where_nobody_else_has_the_alias_a_hung_backend_means_a_refusal
    test_daemon_dead = RouterContract.test_with_the_daemon_dead_it_goes_on_as_it_was
    test_expired = RouterContract.test_an_expired_document_keeps_nobody_from_an_answer
