"""Prediction with the trained network of a run."""
