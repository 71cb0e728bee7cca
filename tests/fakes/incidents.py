"""Incidents as the history tells them, for whoever shows them."""

from typing import Any

from tests.fakes.documents import Document

MEMBER: Document = {
    "target": "general",
    "instance": "4f1e@12",
    "opened_at": "2026-11-23T11:45:00.000Z",
    "closed_at": "2026-11-23T11:49:10.000Z",
    "ending": "our restart",
    "verdict": "down",
    "reason": "Exited",
    "message": "exited 1",
    "cause": "out of VRAM",
    "says": "the GPU has 200 MiB left",
    "cure": "stop what else uses the GPU",
    "helps_restart": False,
    "acted_at": ["2026-11-23T11:45:10.000Z", "2026-11-23T11:48:40.000Z"],
    "would_act_at": None,
    "was_right_to_wait": None,
}
BUNDLE: Document = {
    "taken_at": "2026-11-23T11:45:08.000Z",
    "target": "general",
    "instance": "4f1e@12",
    "verdict": "hung",
    "statements": [{"witness": "cpu", "says": "idle", "age_s": 10.0}],
    "engine": {"image": "llama:cpu"},
    "processes": [
        {
            "pid": 4121,
            "name": "llama-server",
            "state": "Sl",
            "cpu_s": 12.3,
            "memory_bytes": 327155712,
            "waits_in": "futex_wait",
            "threads": {"S futex_wait": 7, "R": 1},
        }
    ],
    "gpu": [
        {
            "index": 0,
            "name": "RTX 3060",
            "used_bytes": 11 << 30,
            "total_bytes": 12 << 30,
            "holders": [
                {"pid": 4121, "name": "llama-server", "used_bytes": 9 << 30},
                {"pid": 77, "name": "", "used_bytes": 300 << 20, "is_gone": True},
            ],
        }
    ],
    "log": "loading\nllama_init: failed\n\n",
}


def member(**changes: Any) -> Document:
    """Return the trouble of one target, with `changes`."""
    return {**MEMBER, **changes}


def incident(*members: Document, **changes: Any) -> Document:
    """Return an incident as the history tells it, with `changes`."""
    members = members or (MEMBER,)
    told = {
        "id": "20261123-114500-general",
        "opened_at": "2026-11-23T11:45:00.000Z",
        "closed_at": "2026-11-23T11:49:10.000Z",
        "targets": [each["target"] for each in members],
        "cause": members[0].get("cause"),
        "says": members[0].get("says"),
        "cure": members[0].get("cure"),
        "members": list(members),
        "evidence": [],
    }
    return {**told, **changes}
