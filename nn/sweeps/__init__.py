"""W&B's sweep files without W&B's server."""
