"""Neural networks in pure NumPy, and the harness that trains and sweeps them."""
