"""Where the testbed keeps what is dear to make and cheap to lose: models, logs, downloaded tools."""

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


def cache_dir(*parts: str) -> Path:
    """Return (and make) a directory under `.cache/` in the repository, or under `$TESTBED_CACHE` where that is set."""
    root = Path(os.environ.get("TESTBED_CACHE") or REPOSITORY / ".cache")
    path = root.joinpath(*parts)
    path.mkdir(parents=True, exist_ok=True)
    return path
