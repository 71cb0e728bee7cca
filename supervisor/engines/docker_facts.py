"""What can be told of a container for the record: named here one by one, so that nothing else of it is ever told.

Pure: reads what the engine answered. Of the environment only names are told, of the command no secrets.
"""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from supervisor.core.cause import cleaned
from supervisor.engines.docker_state import Attributes, read_time, stamp
from supervisor.engines.masked import told_command, told_names, without_secrets

MOST = 64  # of anything that a container has many of
MOST_OF_A_WORD = 300  # characters
MOST_OF_AN_ERROR = 1000
NO_CONTAINER = {"engine": "docker", "state": "missing"}
# No `cmdline` is read for these: it may hold secrets, and of a process that hangs over a device it never comes.
PS_ARGUMENTS = "-eo pid,stat,time,rss,comm"
NOT_ON_NETWORKS = frozenset({"none", "host", "container", "ns", "slirp4netns", "pasta"})  # the last three are Podman's


def read_facts(container: Attributes) -> dict[str, Any]:
    """Return how a container was made and how it is; what it has nothing of is left out."""
    state, config, host = container["State"], _part(container, "Config"), _part(container, "HostConfig")
    facts = {
        "engine": "docker",
        "id": container["Id"],
        "image": config.get("Image"),
        "image_id": container.get("Image"),
        "created_at": _time(container.get("Created")),
        "started_at": _time(state.get("StartedAt")),
        "ended_at": None if state.get("Running") else _time(state.get("FinishedAt")),
        "state": state.get("Status"),
        "exit_code": state.get("ExitCode") if _has_ended(state) else None,
        "oom_killed": bool(state.get("OOMKilled")),
        "error": cleaned(without_secrets(state.get("Error") or ""), most=MOST_OF_AN_ERROR),
        "restarts_by_engine": container.get("RestartCount"),
        "command": told_command([container.get("Path") or "", *(container.get("Args") or [])]),
        "working_dir": config.get("WorkingDir"),
        "environment": told_names(config.get("Env") or []),
        "limits": _limits(host),
        "restart_policy": _only(_part(host, "RestartPolicy"), name="Name", max_retries="MaximumRetryCount"),
        "ports": list(islice(_ports(host), MOST)),
        "mounts": [_mount(each) for each in _some(container, "Mounts")],
        "network_mode": host.get("NetworkMode"),
        "networks": list(islice(_part(_part(container, "NetworkSettings"), "Networks"), MOST)),
        "health": _only(_part(state, "Health"), word="Status", failures="FailingStreak"),
        "gpus": [_gpu(each) for each in _some(host, "DeviceRequests")],
        "devices": [str(each.get("PathOnHost")) for each in _some(host, "Devices")],
        "runtime": host.get("Runtime"),
    }
    return {key: value for key, value in facts.items() if value not in (None, "", [], {})}


def is_detached(container: Attributes) -> bool:
    """Return whether it runs on no network although it was made to be on one."""
    state = container["State"]
    if not state["Running"] or state.get("Restarting") or not has_network(container):
        return False
    endpoints = _part(_part(container, "NetworkSettings"), "Networks").values()
    return not any((each or {}).get("EndpointID") for each in endpoints)


def has_network(container: Attributes) -> bool:
    """Return whether it was made to be on a network that the engine makes and takes away."""
    mode = str(_part(container, "HostConfig").get("NetworkMode") or "none").partition(":")[0]
    return mode not in NOT_ON_NETWORKS and not _part(container, "Config").get("NetworkDisabled")


def read_top(top: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the processes that the engine's `top` with PS_ARGUMENTS tells of."""
    titles = [str(title) for title in top.get("Titles") or []]
    rows = (dict(zip(titles, row, strict=False)) for row in (top.get("Processes") or [])[:MOST])
    return [_process(row) for row in rows if str(row.get("PID", "")).isdecimal()]


def _has_ended(state: Attributes) -> bool:
    """Return whether it has come to an end, if only to that of a start that failed."""
    never_started = state.get("Status") == "created" and not state.get("Error")
    return not state.get("Running") and not never_started


def _process(row: Mapping[str, str]) -> dict[str, Any]:
    rss_kib = str(row.get("RSS", ""))
    told = {
        "pid": int(row["PID"]),
        "name": row.get("COMMAND"),
        "state": row.get("STAT"),
        "cpu_s": _seconds(str(row.get("TIME", ""))),
        "memory_bytes": int(rss_kib) * 1024 if rss_kib.isdecimal() else None,
    }
    return {key: value for key, value in told.items() if value is not None}


def _seconds(text: str) -> float | None:
    """Return the seconds of `[[days-]hours:]minutes:seconds`."""
    days, _, clock = text.rpartition("-")
    parts = clock.split(":")
    if len(parts) > 3 or not all(part.isdecimal() for part in (days or "0", *parts)):
        return None
    hours, minutes, seconds = (0, 0, *map(int, parts))[-3:]
    return float(86_400 * int(days or 0) + 3600 * hours + 60 * minutes + seconds)


def _limits(host: Attributes) -> dict[str, Any]:
    period_us = host.get("CpuPeriod") or 100_000  # the kernel's own
    limits = {
        "memory_bytes": host.get("Memory"),
        "memory_and_swap_bytes": host.get("MemorySwap"),
        "cpus": (host.get("NanoCpus") or 0) / 1e9 or max(0, host.get("CpuQuota") or 0) / period_us,
        "cpu_shares": host.get("CpuShares"),
        "cpu_set": host.get("CpusetCpus"),
        "processes": host.get("PidsLimit"),
        "shared_memory_bytes": host.get("ShmSize"),
    }
    return {key: value for key, value in limits.items() if value}


def _ports(host: Attributes) -> Iterable[dict[str, Any]]:
    for inner, bindings in _part(host, "PortBindings").items():
        for each in bindings or []:
            yield {"container": inner, "address": each.get("HostIp") or "", "port": each.get("HostPort") or ""}


def _mount(mount: Attributes) -> dict[str, Any]:
    told = _only(mount, kind="Type", source="Source", destination="Destination")
    return {**told, "mode": "rw" if mount.get("RW", True) else "ro"}


def _gpu(request: Attributes) -> dict[str, Any]:
    return _only(request, driver="Driver", count="Count", ids="DeviceIDs", capabilities="Capabilities")


def _only(part: Attributes, **keys: str) -> dict[str, Any]:
    return {ours: part[theirs] for ours, theirs in keys.items() if part.get(theirs) not in (None, "", [])}


def _part(whole: Attributes, key: str) -> Attributes:
    """Return a part that may be missing, or null."""
    return whole.get(key) or {}


def _some(whole: Attributes, key: str) -> list[Attributes]:
    return list(whole.get(key) or [])[:MOST]


def _time(text: str | None) -> str | None:
    moment = read_time(text) if text else None
    return stamp(moment) if moment else None
