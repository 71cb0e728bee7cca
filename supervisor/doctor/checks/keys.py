"""API keys: servers that want one and get none, or another. 401 is no reason to restart anybody, so it stays."""

from collections.abc import Iterator

from supervisor.doctor.around import Around
from supervisor.doctor.asking import Said, beside, get
from supervisor.doctor.finding import Finding, error, ok
from supervisor.settings import TargetSettings

# What no server infers for; `/v1/models` would cut a user of llama-cpp-python off, so it is asked only where one more
# path that wants no key has told that it is another.
OPEN = {"/metrics": (b"vllm:", b"sglang:", b"sglang_")}


def look(around: Around) -> Iterator[Finding]:
    """Ask each model server something for which it wants its key."""
    yield from beside(_looked, around.backends)


def _looked(target: TargetSettings) -> Iterator[Finding]:
    said = get(target, "/props")
    if not said.refuses_key and not said.is_good:
        metrics = get(target, "/metrics")
        said = metrics if metrics.refuses_key else said
        if metrics.is_good and any(mark in metrics.body for mark in OPEN["/metrics"]):
            said = get(target, "/v1/models")
    yield from _judged(target, said)


def _judged(target: TargetSettings, said: Said) -> Iterator[Finding]:
    has_key = bool(target.api_key.get_secret_value())
    where = f'api_key = "…" in the settings of {target.name}'
    if said.refuses_key and has_key:
        cure = f"put the server's own key into {where}, then restart the daemon"
        yield error(f"its server refuses our key ({said.status})", cure=cure, target=target.name)
    elif said.refuses_key:
        cure = f"write {where}, then restart the daemon"
        yield error(f"its server wants an API key, and we have none ({said.status})", cure=cure, target=target.name)
    elif said.is_good:
        yield ok("its server takes our key" if has_key else "its server wants no key", target=target.name)
