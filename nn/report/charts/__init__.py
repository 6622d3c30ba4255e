"""Interactive charts of runs and sweeps, as Plotly figures."""
