"""Hypothesis for the core: enough examples to find what is wrong, few enough to be run on every save.

CORE_EXAMPLES=5000 looks longer.
"""

import os

from hypothesis import settings

settings.register_profile("core", max_examples=int(os.environ.get("CORE_EXAMPLES", "60")), deadline=None)
settings.load_profile("core")
