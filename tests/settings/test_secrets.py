"""Secrets stay where they are, however wrong the settings."""

from pathlib import Path

import pytest

from supervisor.settings import ENV_PREFIX
from supervisor.settings_file import load
from tests.settings.texts import BACKEND, complaint

SECRET = "hunter2"  # noqa: S105 - of nothing


@pytest.mark.parametrize(
    "text",
    [
        f"[http]\ntoken = ['{SECRET}']\n{BACKEND}",
        f"[http]\ntokn = '{SECRET}'\n{BACKEND}",
        f"[http]\nToken = '{SECRET}'\n{BACKEND}",
        f"[http]\ntoken = 'é {SECRET}'\n{BACKEND}",
        f"[htp]\ntoken = '{SECRET}'\n{BACKEND}",
        f"token = '{SECRET}'\n{BACKEND}",
        f"{BACKEND}apikey = '{SECRET}'",
        f"{BACKEND}api-key = '{SECRET}'",
        f"{BACKEND}api_key = ['{SECRET}']",
        f"{BACKEND}api_key = 'é {SECRET}'",
        f"{BACKEND}password = '{SECRET}'",
        f"{BACKEND}environment = {{ HF_TOKEN = ['{SECRET}'] }}",
        f"{BACKEND}environment = {{ OTHER = '{SECRET}' }}",
        f"{BACKEND}command = ['llama-server', '--api-key', '{SECRET}']",
        f"[[backend]]\napi_key = '{SECRET}'\n{BACKEND}",
        f"[[backends]]\nname = 'x'\napi_key = '{SECRET}'",
        BACKEND.replace("http://", f"http://user:{SECRET}@"),
        f"{BACKEND}api_key = '{SECRET}'\nengine = 'podman'",
        f"[http]\ntoken = '{SECRET}\n{BACKEND}",
    ],
)
def test_a_secret_is_never_shown(file: Path, text: str) -> None:
    told = complaint(file, text)

    assert told
    assert SECRET not in told


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TOKN", SECRET),
        ("API_KEY", SECRET),
        ("HTTP__TOKN", SECRET),
        ("HTTP__TOKEN", f"é {SECRET}"),
        ("BACKENDS", f'[{{"name": "x", "api_key": "{SECRET}"}}]'),
        ("BACKENDS", f'[{{"api_key": "{SECRET}"'),
        ("HTTP", f'{{"tokn": "{SECRET}"}}'),
        ("HTTP", f'["{SECRET}"]'),
    ],
)
def test_a_secret_in_the_environment_is_never_shown(
    file: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"{ENV_PREFIX}{name}", value)

    told = complaint(file, BACKEND)

    assert told.startswith("environment: ")
    assert SECRET not in told


def test_a_good_secret_is_not_shown_either(file: Path) -> None:
    file.write_text(f"[http]\ntoken = '{SECRET}'\n{BACKEND}api_key = '{SECRET}'")

    assert SECRET not in repr(load(file))
