"""Neural networks in pure NumPy, with tools to train, track and sweep them."""
