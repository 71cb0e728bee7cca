"""What to do where a real part cannot be had: one rule for all tests."""

import os
from typing import NoReturn

import pytest


def cannot(reason: str) -> NoReturn:
    """Fail in CI, where all must run; elsewhere skip, and the last lines of the run say why."""
    if os.environ.get("CI"):
        pytest.fail(f"in CI nothing may be left out: {reason}")
    pytest.skip(reason)
