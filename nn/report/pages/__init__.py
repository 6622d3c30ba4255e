"""Pages of a run, a sweep, a comparison and a directory, from their report data."""
