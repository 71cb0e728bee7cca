"""Model servers: what they hide that tells hung from busy, and what a canary would cost their users."""

import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from supervisor.doctor import listeners, unit_files
from supervisor.doctor.account import words_of
from supervisor.doctor.around import Around
from supervisor.doctor.asking import Said, beside, get
from supervisor.doctor.finding import Finding, note, ok, warning
from supervisor.doctor.restarting import environment
from supervisor.engines.arguments import sleep_idle_s
from supervisor.settings import TargetSettings

CACHE_FLAGS, CACHE_VARIABLE = ("--cache-ram", "-cram"), "LLAMA_ARG_CACHE_RAM"
CACHES_SINCE = 6710  # build: October 2025
BUILD = re.compile(r"b(\d+)")
GENTLE = ("sglang:", "sglang_")


def look(around: Around) -> Iterator[Finding]:
    """Ask each model server what it is and what it tells."""
    yield from beside(partial(_looked, around), around.backends)


def _looked(around: Around, target: TargetSettings) -> Iterator[Finding]:
    if target.progress in ("none", "llama-cpp-python", "ollama"):
        return
    said = get(target, "/props")
    if said.is_late:
        yield note(f"it was not looked at: {said.words}", target=target.name)
    if said.status == 0 or said.refuses_key:
        return  # who cannot be reached, and who wants a key, is told of elsewhere
    if said.server == "llama.cpp" and said.status == 503:
        yield note("it loads its model, and was not asked more", target=target.name)
    elif "total_slots" in said.content or "default_generation_settings" in said.content:
        yield from _llama_cpp(around, target, said.content)
    else:
        yield from _other(target, get(target, "/metrics"))


def _llama_cpp(around: Around, target: TargetSettings, props: Mapping[str, Any]) -> Iterator[Finding]:
    found = [*_counters(around, target, props), *_cache(around, target, props)]
    asleep = " and sleeps" if props.get("is_sleeping") is True else ""
    yield from found or [
        ok(f"llama.cpp {props.get('build_info') or ''} tells what is needed{asleep}", target=target.name)
    ]


def _counters(around: Around, target: TargetSettings, props: Mapping[str, Any]) -> Iterator[Finding]:
    words, variables = _told(around, target)
    # A build that does not say has them, unless it was told otherwise: `/slots` itself would wake a sleeper.
    shows_slots = props.get("endpoint_slots", "--no-slots" not in words)
    if not shows_slots:
        seen = "its slots are hidden (--no-slots): whether it hangs or works is told by canaries and its CPU alone"
        yield warning(seen, cure="start llama-server without --no-slots", target=target.name)
    sleeps = target.sleeps_after_s is not None or sleep_idle_s(words, variables) is not None
    shows_metrics = props.get("endpoint_metrics", "--metrics" in words)
    if not shows_metrics and sleeps:
        seen = "it sleeps when idle and has no /metrics: work is seen by its CPU alone, or by what would wake it"
        yield warning(seen, cure="start llama-server with --metrics", target=target.name)
    elif not shows_metrics and not shows_slots:
        seen = "it has no /metrics either: nothing tells what it does"
        yield warning(seen, cure="start llama-server with --metrics", target=target.name)


def _cache(around: Around, target: TargetSettings, props: Mapping[str, Any]) -> Iterator[Finding]:
    if props.get("total_slots") != 1:
        return
    build = BUILD.search(str(props.get("build_info") or ""))
    has_cache = "is_sleeping" in props or (build is not None and int(build[1]) >= CACHES_SINCE)
    words, variables = _told(around, target)
    size = _cache_size(words, variables)
    costs = "a canary costs whoever used its one slot last the whole prompt once more"
    if not has_cache:
        seen = f"its llama.cpp ({props.get('build_info') or 'an old one'}) keeps no prompts in RAM: {costs}"
        cure = "update llama.cpp to a build of October 2025 or later; spare_s in the settings spares users meanwhile"
        yield warning(seen, cure=cure, target=target.name)
    elif size == "0":
        seen = f"it keeps no prompts in RAM (--cache-ram 0): {costs}"
        cure = "start llama-server with some, such as --cache-ram 2048, or with a second slot (-np 2)"
        yield warning(seen, cure=cure, target=target.name)


def _cache_size(words: list[str], variables: Mapping[str, str]) -> str | None:
    """Return what a server was told of the size of its cache; the last flag holds, over the variable."""
    size = variables.get(CACHE_VARIABLE)
    for place, word in enumerate(words):
        name, joined, value = word.partition("=")
        if name in CACHE_FLAGS:
            size = value if joined else next(iter(words[place + 1 : place + 2]), None)
    return size


def _told(around: Around, target: TargetSettings) -> tuple[list[str], Mapping[str, str]]:
    """Return the command line and the environment of a target's server, as far as they can be known."""
    container = around.container(target)
    if container is not None:
        return [str(each) for each in container.get("Args") or []], environment(container)
    if target.engine == "process":
        return list(target.command), target.environment
    parts = urlsplit(target.url)
    for each in listeners.on_port(around.listeners(), parts.port or 80, host=parts.hostname or ""):
        if each.pid and (words := words_of(each.pid, around.proc)):
            return words, {}
    if target.engine == "systemd":
        return unit_files.of_unit(target.engine_name, around.root).get("ExecStart", "").split(), {}
    return [], {}


def _other(target: TargetSettings, metrics: Said) -> Iterator[Finding]:
    """Tell of a server that is not llama.cpp and hides its counters."""
    if metrics.is_good:
        yield ok("its counters can be read", target=target.name)
    elif target.progress == "sglang":
        cure = "start SGLang with --enable-metrics"
        yield warning(f"it has no /metrics ({metrics.status or metrics.words})", cure=cure, target=target.name)
    elif target.progress in ("vllm", "tgi"):
        cure = "check that nothing before the server denies /metrics"
        yield warning(f"it has no /metrics ({metrics.status or metrics.words})", cure=cure, target=target.name)
    else:
        yield note("no counters of it are known: canaries and its CPU alone tell how it is", target=target.name)
