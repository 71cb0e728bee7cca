"""Acts upon targets, one at a time for each, and to their end: half a stop would be worse than a late one."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from supervisor.errors import EngineUnreachable


class OneAtATime:
    """What is being done, by target."""

    def __init__(self, engine: str) -> None:
        """`engine` is what it is called in messages."""
        self._engine = engine
        self._acts: dict[str, tuple[str, asyncio.Task[None]]] = {}

    async def do(self, name: str, verb: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do it in a task of its own, and return once it is done.

        Raises:
            EngineUnreachable: something else is being done to `name`.
            SupervisorError: whatever the work raises.
        """
        if name in self._acts:
            under_way = f"an earlier call, to {self._acts[name][0]} it, is still under way"
            raise EngineUnreachable(f"{self._engine} was not asked to {verb} {name}: {under_way}")
        task = asyncio.get_running_loop().create_task(work(), name=f"{name}: {verb}")
        self._acts[name] = verb, task
        task.add_done_callback(lambda ended: self._ended(name, ended))
        await asyncio.shield(task)

    async def end(self, *, cut_short: bool) -> None:
        """Return once nothing is being done any more; `cut_short`: without waiting for what is."""
        tasks = [task for _, task in self._acts.values()]
        for task in tasks if cut_short else ():
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, name: str, task: asyncio.Task[None]) -> None:
        del self._acts[name]
        if not task.cancelled():
            task.exception()  # whoever asked may be gone; then nobody else would look at it
