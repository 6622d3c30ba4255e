"""Tracking of runs in Weights & Biases, which holds a copy of the run directory's data."""
