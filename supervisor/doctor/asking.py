"""Ask a server something that it answers from memory: nobody infers for it, and no sleeper wakes.

Bounded in time and in size.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from threading import Thread
from typing import Any, TypeVar

import httpx

from supervisor.doctor.around import CALL_S
from supervisor.settings import TargetSettings

T = TypeVar("T")
LATE = f"no answer within {CALL_S:g} s"
MOST_BYTES = 1 << 20
REFUSES_KEYS = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
BESIDE_S = 4 * CALL_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """An answer; status 0 where there was none, and then `words` say why."""

    status: int = 0
    words: str = ""
    server: str = ""
    body: bytes = b""

    @property
    def content(self) -> Mapping[str, Any]:
        """What it holds as JSON; nothing where it holds no object."""
        try:
            told = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return told if isinstance(told, dict) else {}

    @property
    def is_late(self) -> bool:
        """Whether it took the question and did not answer in time."""
        return self.status == 0 and self.words == LATE

    @property
    def is_good(self) -> bool:
        """Whether it is one."""
        return self.status == HTTPStatus.OK

    @property
    def refuses_key(self) -> bool:
        """Whether it wants another key, or one at all."""
        return self.status in REFUSES_KEYS


def get(target: TargetSettings, path: str) -> Said:
    """Ask a target's server, with the key that the daemon has for it."""
    key = target.api_key.get_secret_value()
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        with (
            httpx.Client(base_url=target.url, timeout=CALL_S, trust_env=False, headers=headers) as client,
            client.stream("GET", path) as answer,
        ):
            body = b""
            for piece in answer.iter_bytes():
                body += piece
                if len(body) > MOST_BYTES:
                    break
            return Said(status=answer.status_code, server=answer.headers.get("server", ""), body=body)
    except httpx.TimeoutException:
        return Said(words=LATE)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        return Said(words=str(error) or type(error).__name__)


def beside(work: Callable[[TargetSettings], Iterable[T]], targets: Iterable[TargetSettings]) -> list[T]:
    """Do the same for every target, side by side, and return what came in time, in the targets' order."""
    wanted = list(targets)
    done: dict[str, list[T]] = {}

    def run(target: TargetSettings) -> None:
        done[target.name] = list(work(target))

    threads = [Thread(target=run, args=(target,), daemon=True) for target in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BESIDE_S / len(threads))
    return [each for target in wanted for each in done.get(target.name, [])]
