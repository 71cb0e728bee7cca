"""The supervisor's ear: it takes reports as the HTTP API does, and keeps them for looking at."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.fakes.documents import Document
from tests.fakes.upstream import Connection, Upstream

ENOUGH_S = 20.0
THREAD = "liveness reports"


def takes(connection: Connection) -> None:
    """Answer as the supervisor does where it knows every backend that was named."""
    body = json.dumps({"taken": len(json.loads(connection.body or b"[]")), "unknown": []})
    connection.send_head("application/json", len(body), "202 Accepted")
    connection.send(body)


class Ear(Upstream):
    """Takes all reports unless told to behave in another way."""

    def __init__(self, *, at: Path | None = None) -> None:
        super().__init__(takes, at=at)

    @property
    def batches(self) -> list[list[Document]]:
        """What came with each request that brought reports, taken or not."""
        posts = [connection for connection in list(self.connections) if connection.head.startswith("POST ")]
        return [json.loads(connection.body) for connection in posts]

    @property
    def reports(self) -> list[Document]:
        """All reports, in the order in which they came."""
        return [report for batch in self.batches for report in batch]

    @property
    def backends(self) -> list[str]:
        """Whom the reports are about."""
        return [report["backend"] for report in self.reports]


def reporting_threads() -> int:
    """Return how many threads are there to send reports."""
    return sum(thread.name == THREAD for thread in threading.enumerate())


def wait_until(holds: Callable[[], bool]) -> None:
    """Poll until it holds."""
    deadline = time.monotonic() + ENOUGH_S
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)
