"""A router of BenchAI's shape keeps the routers' contract once it is guarded."""

from collections.abc import Mapping
from typing import ClassVar

import pytest

from testbed.routers.asking import ask
from testbed.routers.base import Router
from testbed.routers.benchai import BenchaiRouter
from testbed.routers.world import TOKENS_PER_S, World
from tests.routers.contract import RouterContract, assert_answered, assert_none_hangs_while


class WithMath(BenchaiRouter):
    """It knows one more name for `vision`: to that name's own it answers in one piece, whatever was asked for."""

    def environment(self) -> Mapping[str, str]:
        """Name it in its table of ports."""
        given = dict(super().environment())
        vision = self.served.backends["vision"].rpartition(":")[2]
        return {**given, "BENCHAI_PORTS": given["BENCHAI_PORTS"].replace("{", f'{{"math": {vision}, ', 1)}


class TestBenchai(RouterContract):
    """The whole contract, behind `python -m benchai_liveness llm_router.py`."""

    router: ClassVar[type[Router]] = WithMath

    @pytest.mark.parametrize("alias", ["auto", "research"])
    def test_while_the_planner_hangs_and_is_restarted_no_request_hangs(self, world: World, alias: str) -> None:
        """`auto` asks the planner first, past every function that one could think of."""
        assert_none_hangs_while(world, "planner", alias=alias)

    def test_a_stream_comes_piece_by_piece(self, world: World) -> None:
        reply = ask(world, "math", stream=True, max_tokens=TOKENS_PER_S)

        gaps_s = [later - sooner for sooner, later in zip(reply.came_at_s, reply.came_at_s[1:], strict=False)]
        assert_answered(reply, stream=True)
        assert len([gap_s for gap_s in gaps_s if gap_s > 0.2 / TOKENS_PER_S]) >= TOKENS_PER_S / 2
