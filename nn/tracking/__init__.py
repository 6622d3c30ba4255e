"""What is kept of a run: its folder is the truth, Weights & Biases the mirror."""
