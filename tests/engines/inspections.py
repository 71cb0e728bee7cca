"""Inspections as engines answer them, to be changed in a test where it matters."""

import copy
from collections.abc import Mapping
from typing import Any

ID = "4f1e" * 16
IMAGE_ID = "sha256:" + "c0de" * 16
NETWORK_ID = "beef" * 16
NEVER = "0001-01-01T00:00:00Z"

# Of an engine 20.10, about a server that Compose made; what no test could be about is left out.
GENERAL: Mapping[str, Any] = {
    "Id": ID,
    "Created": "2026-11-23T11:58:01.123456789Z",
    "Path": "/app/llama-server",
    "Args": ["-m", "/models/phi-3.gguf", "--host", "0.0.0.0", "--port", "8080", "--api-key", "hush", "-np", "1"],
    "State": {
        "Status": "running",
        "Running": True,
        "Paused": False,
        "Restarting": False,
        "OOMKilled": False,
        "Dead": False,
        "Pid": 4121,
        "ExitCode": 0,
        "Error": "",
        "StartedAt": "2026-11-23T11:58:02.123456789Z",
        "FinishedAt": NEVER,
        "Health": {
            "Status": "healthy",
            "FailingStreak": 0,
            "Log": [{"ExitCode": 0, "Output": "a user's words", "Start": "2026-11-23T11:59:02.1Z"}],
        },
    },
    "Image": IMAGE_ID,
    "Name": "/general",
    "RestartCount": 2,
    "HostConfig": {
        "NetworkMode": "benchai_default",
        "PortBindings": {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8091"}]},
        "RestartPolicy": {"Name": "unless-stopped", "MaximumRetryCount": 0},
        "Memory": 8589934592,
        "MemorySwap": 17179869184,
        "NanoCpus": 2500000000,
        "CpuPeriod": 0,
        "CpuQuota": 0,
        "CpuShares": 0,
        "CpusetCpus": "",
        "PidsLimit": None,
        "ShmSize": 67108864,
        "Runtime": "runc",
        "Devices": [{"PathOnHost": "/dev/dri", "PathInContainer": "/dev/dri", "CgroupPermissions": "rwm"}],
        "DeviceRequests": [
            {
                "Driver": "nvidia",
                "Count": 1,
                "DeviceIDs": None,
                "Capabilities": [["gpu"]],
                "Options": {"secret": "hush"},
            }
        ],
    },
    "Mounts": [
        {
            "Type": "bind",
            "Source": "/srv/models",
            "Destination": "/models",
            "Mode": "ro",
            "RW": False,
            "Propagation": "rprivate",
        },
        {
            "Type": "volume",
            "Name": "benchai_cache",
            "Source": "/var/lib/docker/volumes/benchai_cache/_data",
            "Destination": "/models/cache",
            "Driver": "local",
            "Mode": "z",
            "RW": True,
            "Propagation": "",
        },
    ],
    "Config": {
        "Hostname": "4f1e4f1e4f1e",
        "User": "",
        "Env": ["LLAMA_ARG_API_KEY=hush", "PATH=/usr/bin:/bin", "LLAMA_ARG_MMPROJ=/models/eyes.gguf"],
        "Cmd": ["-m", "/models/phi-3.gguf"],
        "Image": "ghcr.io/ggml-org/llama.cpp:server",
        "WorkingDir": "/app",
        "Entrypoint": ["/app/llama-server"],
        "Labels": {"com.docker.compose.project": "benchai", "token": "hush"},
    },
    "NetworkSettings": {
        "Networks": {
            "benchai_default": {
                "Aliases": ["general"],
                "NetworkID": NETWORK_ID,
                "EndpointID": "e4d0" * 16,
                "IPAddress": "172.18.0.2",
            }
        }
    },
}

# What `top` answers to `ps -eo pid,stat,time,rss,comm`.
TOP: Mapping[str, Any] = {
    "Titles": ["PID", "STAT", "TIME", "RSS", "COMMAND"],
    "Processes": [
        ["4121", "Ssl", "01:02:03", "2048000", "llama-server"],
        ["4188", "D", "1-00:00:07", "0", "tmux: server"],
    ],
}


def inspection(**parts: Any) -> dict[str, Any]:
    """Return GENERAL with `parts` in place of its own; a mapping only adds to what was there."""
    whole = copy.deepcopy(dict(GENERAL))
    for name, part in parts.items():
        whole[name] = {**whole[name], **part} if isinstance(part, Mapping) else part
    return whole


def exited(**state: Any) -> dict[str, Any]:
    """Return what becomes of a `State` once its container has ended."""
    usual = {"Status": "exited", "Running": False, "Pid": 0, "ExitCode": 1, "FinishedAt": "2026-11-23T12:30:00Z"}
    return {**GENERAL["State"], **usual, **state}
