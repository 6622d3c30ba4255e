"""Runs, sweeps, comparisons and indexes as plain JSON, read incrementally."""
