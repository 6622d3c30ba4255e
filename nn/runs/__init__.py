"""Runs: training one, its directory, resuming, reproducing and uploading it."""
