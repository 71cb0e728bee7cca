"""Write docs/openapi.json and docs/liveness.schema.json. With --check, say whether they are current."""

import json
import sys
from pathlib import Path
from typing import Any

from supervisor.publish import liveness_schema, openapi

DOCS = Path(__file__).resolve().parent.parent / "docs"


def pages() -> dict[Path, str]:
    """Return what belongs into each file."""
    contents: dict[str, dict[str, Any]] = {
        "openapi.json": openapi.document(),
        "liveness.schema.json": liveness_schema.published(),
    }
    return {DOCS / name: json.dumps(content, indent=2) + "\n" for name, content in contents.items()}


def main() -> int:
    """Write, or check."""
    if "--check" in sys.argv[1:]:
        return 0 if all(path.exists() and path.read_text() == page for path, page in pages().items()) else 1
    for path, page in pages().items():
        path.write_text(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
