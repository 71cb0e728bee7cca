"""Hypothesis for the core: enough examples to find what is wrong, few enough to be run on every save."""

from hypothesis import settings

settings.register_profile("core", max_examples=60, deadline=None)
settings.load_profile("core")
