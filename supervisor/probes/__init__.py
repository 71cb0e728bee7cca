"""Adapters that look at a target from outside: they say what they saw and never what it means."""
