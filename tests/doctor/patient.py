"""What the doctor looks at, made from a few lines of settings, and what it found, in a form that tests can read."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from supervisor.doctor.around import Around
from supervisor.doctor.examination import Look
from supervisor.doctor.finding import Finding
from supervisor.settings_file import load
from testbed.supervisord import toml


def around(folder: Path, targets: str = "", *, more: str = "", **given: Any) -> Around:
    """Return what is around a daemon whose files lie in `folder`; `targets` and `more` are TOML."""
    path = folder / "settings.toml"
    daemon = {"state_dir": folder / "state", "liveness_file": folder / "liveness.json"}
    keys = "".join(f"{key} = {toml(value)}\n" for key, value in daemon.items())
    http = f"port = 0\nsocket = {toml(folder / 'control.sock')}\n"
    path.write_text(f"[daemon]\n{keys}[http]\n{http}{more}\n{targets or backend('general', port=1)}")
    return Around(settings=load(path), path=path, **given)


def backend(name: str, *, port: int, **keys: object) -> str:
    """Return the settings of one model server on the loopback."""
    told = {"name": name, "url": f"http://127.0.0.1:{port}", "models": [name], "engine": "none", **keys}
    return "[[backends]]\n" + "".join(f"{key} = {toml(value)}\n" for key, value in told.items())


def router(*, port: int, **keys: object) -> str:
    """Return the settings of a router on the loopback."""
    told = {"name": "router", "url": f"http://127.0.0.1:{port}", **keys}
    return "[[routers]]\n" + "".join(f"{key} = {toml(value)}\n" for key, value in told.items())


def found(look: Look, patient: Around) -> list[Finding]:
    """Return what a check finds that is not as it should be."""
    return [each for each in look(patient) if each.severity != "ok"]


def words(findings: Iterable[Finding]) -> list[str]:
    """Return how bad each is, about whom, and what was seen."""
    return [f"{each.severity} {each.target or '-'}: {each.seen}" for each in findings]
