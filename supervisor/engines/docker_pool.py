"""A few daemon threads that talk to the Docker engine, each with its own client: the SDK blocks and is not thread-safe.

`ThreadPoolExecutor` and asyncio's own pool join their threads when the interpreter exits, so that one call into a hung
engine would keep the daemon from ending; these threads are not joined. Knows nothing of containers.
"""

import contextlib
import socket
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

import requests
import urllib3
from docker import APIClient
from docker.errors import APIError, DockerException

T = TypeVar("T")
Job = tuple[Future[Any], Callable[[APIClient], Any]]

UNIX = "unix://"

# Whatever the SDK lets through when the engine does not answer as it should.
SDK_ERRORS = (DockerException, requests.RequestException, urllib3.exceptions.HTTPError, OSError)


def knock(host: str, *, timeout_s: float) -> None:
    """Raise OSError if nobody listens at `host`, where that is a Unix socket.

    Each time the SDK cannot connect to one, it leaves a socket open until the garbage collector finds it.
    """
    if host.startswith(UNIX):
        with socket.socket(socket.AF_UNIX) as door:
            door.settimeout(timeout_s)
            door.connect(host.removeprefix(UNIX))


def connect(host: str, *, timeout_s: float) -> APIClient:
    """Return a client on fresh connections; raises while the engine is down."""
    knock(host, timeout_s=timeout_s)
    return APIClient(host, version="auto", timeout=timeout_s)  # type: ignore[arg-type]  # any number will do


class ClientPool:
    """Runs calls on at most `workers` threads, which are made as they are needed."""

    def __init__(self, *, host: str, timeout_s: float, workers: int) -> None:
        self._host = host
        self._timeout_s = timeout_s
        self._workers = workers
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._pending: set[Future[Any]] = set()
        self._threads = 0

    def submit(self, work: Callable[[APIClient], T]) -> Future[T]:
        """Have a thread do `work`; a future cancelled before a thread took it up is never begun."""
        future: Future[T] = Future()
        self._pending = {asked for asked in self._pending if not asked.done()} | {future}
        if self._threads < min(self._workers, len(self._pending)):
            self._threads += 1
            Thread(target=self._work_off, name=f"docker-call-{self._threads}", daemon=True).start()
        self._jobs.put((future, work))
        return future

    def close(self) -> None:
        """Begin nothing more and let idle threads end; one that is stuck in a call ends when its call does."""
        for future in self._pending:
            future.cancel()
        for _ in range(self._threads):
            self._jobs.put(None)

    def _work_off(self) -> None:
        client: APIClient | None = None
        while (job := self._jobs.get()) is not None:
            future, work = job
            if not future.set_running_or_notify_cancel():
                continue
            try:
                knock(self._host, timeout_s=self._timeout_s)
                client = client or connect(self._host, timeout_s=self._timeout_s)
                answer = work(client)
            except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to who asked
                if not isinstance(error, APIError):
                    _drop(client)
                    client = None  # the engine may come back as another version: negotiate anew
                future.set_exception(error)
            else:
                future.set_result(answer)
        _drop(client)


def _drop(client: APIClient | None) -> None:
    if client is not None:
        with contextlib.suppress(*SDK_ERRORS):
            client.close()
