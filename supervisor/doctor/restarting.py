"""Who else restarts containers, and which: known programs by their images, and by what they are told. Pure."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

Container = Mapping[str, Any]  # as the engine's list has it, or as it is inspected

AUTOHEAL = re.compile(r"auto-?heal|docker-heal|healmydocker", re.IGNORECASE)
WATCHTOWER = re.compile(r"watchtower|ouroboros", re.IGNORECASE)
SUPERVISOR = re.compile(r"benchai-supervisor(?!ctl)", re.IGNORECASE)
WATCHED_BY_WATCHTOWER = "com.centurylinklabs.watchtower.enable"
AUTOHEAL_LABEL, WATCHTOWER_ONLY_LABELLED = "AUTOHEAL_CONTAINER_LABEL", "WATCHTOWER_LABEL_ENABLE"
WATCHTOWER_LOOKS_ONLY = "WATCHTOWER_MONITOR_ONLY"
SWARM_TASK, KUBERNETES_POD = "com.docker.swarm.task.id", "io.kubernetes.pod.name"
YES = ("1", "true", "yes", "on")


def is_restarter(container: Container) -> bool:
    """Whether a container is one of a program that restarts others."""
    return bool(kind(container))


def kind(container: Container) -> str:
    """Return `autoheal`, `watchtower`, or nothing; by its image, its name and its command."""
    config = container.get("Config")
    if isinstance(config, Mapping):
        words = [config.get("Image"), container.get("Name"), container.get("Path"), *(container.get("Args") or [])]
    else:
        words = [container.get("Image"), *(container.get("Names") or []), container.get("Command")]
    # The last part of an image's path: a registry may be called as it likes.
    text = " ".join(str(word or "").rpartition("/")[2] for word in words)
    if AUTOHEAL.search(text):
        return "autoheal"
    return "watchtower" if WATCHTOWER.search(text) else ""


def runs(container: Container) -> bool:
    """Whether it runs, or will again by itself."""
    state = container.get("State")
    status = state.get("Status") if isinstance(state, Mapping) else state
    return status in ("running", "restarting", "paused")


def labels(container: Container) -> Mapping[str, str]:
    """Return a container's labels."""
    return (container.get("Config") or {}).get("Labels") or {}


def environment(container: Container) -> dict[str, str]:
    """Return what a container is told by its environment."""
    pairs = (str(each).partition("=") for each in (container.get("Config") or {}).get("Env") or [])
    return {name: value for name, _, value in pairs}


def acts_on(restarter: Container, target: Container) -> str:
    """Return why a restarter acts on a container, empty where it does not."""
    return next(_reasons(restarter, target), "")


def _reasons(restarter: Container, target: Container) -> Iterator[str]:
    told, its = environment(restarter), labels(target)
    match kind(restarter):
        case "autoheal":
            label = told.get(AUTOHEAL_LABEL) or "autoheal"
            if not has_healthcheck(target):
                return
            if label == "all":
                yield f"{AUTOHEAL_LABEL}=all"
            elif its.get(label, "").lower() == "true":
                yield f"the label {label}=true"
        case "watchtower":
            told_by = its.get(WATCHED_BY_WATCHTOWER, "").lower()
            only_labelled = told.get(WATCHTOWER_ONLY_LABELLED, "").lower() in YES or "--label-enable" in arguments(
                restarter
            )
            if told.get(WATCHTOWER_LOOKS_ONLY, "").lower() in YES or "--monitor-only" in arguments(restarter):
                return
            if told_by == "true":
                yield f"the label {WATCHED_BY_WATCHTOWER}=true"
            elif told_by != "false" and not only_labelled:
                yield "it is told to leave nobody out"


def arguments(container: Container) -> list[str]:
    """Return what a container is told by its command line."""
    return [str(each) for each in container.get("Args") or []]


def has_healthcheck(container: Container) -> bool:
    """Whether Docker asks it for its health."""
    test = ((container.get("Config") or {}).get("Healthcheck") or {}).get("Test") or []
    return bool(test) and test[0] != "NONE"
