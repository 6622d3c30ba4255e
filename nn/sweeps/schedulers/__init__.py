"""Schedulers: each decides how far a trial runs."""
