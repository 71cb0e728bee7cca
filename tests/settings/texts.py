"""Settings as one writes them, and what is said about wrong ones."""

from pathlib import Path

import pytest

from supervisor.errors import SettingsError
from supervisor.settings_file import load

REPOSITORY = Path(__file__).parents[2]
OURS = REPOSITORY / "settings.toml"
BACKEND = """
[[backends]]
name = "general"
url = "http://127.0.0.1:8091"
models = ["general"]
"""
SECOND = """
[[backends]]
name = "code"
url = "http://127.0.0.1:8093"
models = ["code"]
"""
ROUTER = """
[[routers]]
name = "router"
url = "http://127.0.0.1:8085"
"""


def complaint(file: Path, text: str) -> str:
    """Return what is said about settings, without the file's name in front of each line."""
    file.write_text(text)
    with pytest.raises(SettingsError) as raised:
        load(file)
    return str(raised.value).replace(f"{file}: ", "")
