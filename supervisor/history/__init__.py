"""What survives us: people read it at any time, decisions read it once, at start."""

import sqlite3

# What whoever writes or reads here must be ready for; `TimeoutError` is an `OSError`.
UNUSABLE = (sqlite3.Error, OSError)
