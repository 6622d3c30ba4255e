"""Schedulers, which decide how far a trial runs."""
