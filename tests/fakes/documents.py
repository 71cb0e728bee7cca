"""Liveness and status documents as the daemon publishes them, for whoever reads them."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Document = dict[str, Any]


def iso(at_s: float) -> str:
    """Return a wall-clock time the way documents spell it."""
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def entry(name: str, *, url: str = "http://127.0.0.1:1", models: tuple[str, ...] = (), **changes: Any) -> Document:
    """Return the entry of a backend that is ready, with `changes`."""
    ready = {
        "routable": True,
        "weight": 1.0,
        "verdict": "ready",
        "state": "RUNNING",
        "reason": "CanaryAnswered",
        "message": "first token after 41 ms",
        "since": iso(0),
        "last_ok_at": iso(0),
        "first_token_ms": 41.2,
        "retry_after_s": None,
        "instance": "4f1e@2026-11-23T11:58:02Z",
    }
    return {"name": name, "url": url, "models": list(models or (name,)), **ready, **changes}


def out(name: str, **changes: Any) -> Document:
    """Return the entry of a backend that hangs."""
    hung = {
        "routable": False,
        "weight": 0.0,
        "verdict": "hung",
        "reason": "NoProgress",
        "message": "no progress for 14 s",
    }
    return entry(name, **{**hung, "retry_after_s": 12.0, **changes})


def document(*entries: Document, now_s: float, valid_for_s: float = 15.0, revision: int = 1) -> Document:
    """Return a document that was written at `now_s`."""
    aliases = dict.fromkeys(alias for one in entries for alias in one["models"])
    return {
        "schema": 1,
        "epoch": "0b9c",
        "revision": revision,
        "generated_at": iso(now_s),
        "expires_at": iso(now_s + valid_for_s),
        "valid_for_s": valid_for_s,
        "mode": "enforce",
        "backends": list(entries),
        "models": {alias: [one["name"] for one in entries if alias in one["models"]] for alias in aliases},
    }


def publish(path: Path, content: Document) -> None:
    """Write `content` aside and rename it to `path`, as the daemon does."""
    aside = path.with_suffix(".tmp")
    aside.write_text(json.dumps(content))
    aside.replace(path)


def target(name: str, **changes: Any) -> Document:
    """Return a target of the status that runs and is ready, with `changes`."""
    running = {
        "kind": "backend",
        "state": "RUNNING",
        "phase": "up",
        "verdict": "ready",
        "routable": True,
        "reason": "CanaryAnswered",
        "summary": "ready",
        "pid": 4121,
        "uptime_s": 60.0,
        "stopped_at": None,
        "since": iso(0),
        "instance": None,
        "restarts": 0,
        "watched_only": False,
    }
    return {"name": name, **running, **changes}


def status(*targets: Document, expires_in_s: float = 15.0, problems: tuple[str, ...] = ()) -> Document:
    """Return a status as of now."""
    now_s = time.time()
    return {
        "schema": 1,
        "as_of": iso(now_s),
        "expires_at": iso(now_s + expires_in_s),
        "mode": "enforce",
        "daemon": {"pid": 812, "version": "0.1.0", "started_at": iso(0), "problems": list(problems)},
        "targets": list(targets),
    }
