"""Adapters that tell routers and people what is believed."""
