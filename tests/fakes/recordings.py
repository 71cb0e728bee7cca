"""Evidence with the recording of a timeline in it, as it is kept before an act."""

from dataclasses import asdict
from typing import Any

from supervisor.core.observations import Reply
from supervisor.core.recording import to_json
from tests.core.recorded import record
from tests.core.timeline import FROZEN_IDLE, IDLE, Moment
from tests.fakes.documents import Document
from tests.fakes.incidents import BUNDLE

HANGS = [*[IDLE] * 20, *[FROZEN_IDLE] * 10]
FAILS = [*[IDLE] * 20, *[Moment(canary=Reply.FAILED)] * 30]


def bundle(moments: list[Moment], **changes: Any) -> Document:
    """Return the evidence that is kept of such a timeline, with `changes`."""
    world = record(moments)
    observations = to_json(world.recording, now=world.until)
    return {**BUNDLE, "observations": observations, "policy": asdict(world.policy), **changes}
