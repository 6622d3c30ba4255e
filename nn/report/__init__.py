"""Reports of runs and sweeps as HTML pages, PNG figures and W&B reports."""
