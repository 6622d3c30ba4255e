"""Paths, atomic writes, safe reads and serialization of the files of runs and sweeps."""
