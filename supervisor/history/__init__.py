"""What survives us: people read it at any time, decisions read it once, at start."""
