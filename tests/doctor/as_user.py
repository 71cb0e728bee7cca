"""Have another user look: `python -m tests.doctor.as_user UID SETTINGS`, with what was found as lines of words.

Everything is imported first: that user may not read where it lies.
"""

import asyncio.selector_events  # noqa: F401 - imported late otherwise
import encodings.idna  # noqa: F401
import os
import sys
from pathlib import Path

from supervisor.doctor.around import Around
from supervisor.doctor.checks import CHECKS
from supervisor.doctor.examination import examine
from supervisor.settings_file import load
from tests.doctor.patient import words


def main() -> None:
    """Become that user, and look."""
    uid, path = int(sys.argv[1]), Path(sys.argv[2])
    settings = load(path)
    examine(Around(settings=settings, path=path), CHECKS)  # once as ourselves, so that nothing is imported later
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
    report = examine(Around(settings=settings, path=path), CHECKS)
    print("\n".join(words(found for _, found in report.findings)))  # noqa: T201


if __name__ == "__main__":
    main()
