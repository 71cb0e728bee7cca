"""Keep self-hosted model servers truthful and alive. Import nothing here: the CLI and the client must start fast."""

__version__ = "0.1.0"
