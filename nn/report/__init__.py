"""Runs and sweeps as pages, pictures and W&B reports, made from their folders alone."""
