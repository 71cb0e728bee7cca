"""When turns happen. A job only posts that a look is due and returns; no work may live in one."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

JITTER_S = 0.1  # so that many daemons, or many targets, do not beat in step


class Schedule:
    """Posts what is due, target by target, each at its own pace."""

    def __init__(self) -> None:
        self._scheduler = AsyncIOScheduler(timezone=UTC)

    def add(self, name: str, post: Callable[[], None], *, every_s: float, delay_s: float) -> None:
        """Call `post` every `every_s` seconds, first after `delay_s`, in place of what was called for `name` before."""

        async def due() -> None:  # a coroutine function, or APScheduler would call it in a thread
            post()

        self._scheduler.add_job(
            due,
            _every(every_s),
            id=name,
            replace_existing=True,
            next_run_time=datetime.now(UTC) + timedelta(seconds=delay_s),
            max_instances=1,
            coalesce=True,
            misfire_grace_time=None,
        )

    def pace(self, name: str, every_s: float) -> None:
        """Change how often `name` is due, from now on."""
        self._scheduler.reschedule_job(name, trigger=_every(every_s))

    def remove(self, name: str) -> None:
        """Post nothing more for `name`."""
        self._scheduler.remove_job(name)

    def start(self) -> None:
        """Begin; needs a running event loop."""
        self._scheduler.start()

    def stop(self) -> None:
        """End; nothing more is posted."""
        self._scheduler.shutdown(wait=False)


def _every(every_s: float) -> IntervalTrigger:
    return IntervalTrigger(seconds=every_s, jitter=min(JITTER_S, every_s / 10), timezone=UTC)
