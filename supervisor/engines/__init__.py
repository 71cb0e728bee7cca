"""Adapters for whatever can start, stop, restart and inspect a target."""
