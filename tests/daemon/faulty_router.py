"""The example router with two faults to be had by a signal: SIGUSR1 blocks its event loop, SIGUSR2 its chats alone."""

import asyncio
import signal
import time

from starlette.types import Receive, Scope, Send

import examples.router
from examples.router import Chat


class Deadlocking(Chat):
    """A chat handler that may come to wait for a lock nobody gives back; `/health` says ok all the same."""

    is_deadlocked = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.is_deadlocked:
            await asyncio.Event().wait()
        await super().__call__(scope, receive, send)


def deadlock(*_: object) -> None:
    Deadlocking.is_deadlocked = True


if __name__ == "__main__":
    examples.router.Chat = Deadlocking  # type: ignore[misc]
    signal.signal(signal.SIGUSR1, lambda *_: time.sleep(3600))
    signal.signal(signal.SIGUSR2, deadlock)
    examples.router.main()
