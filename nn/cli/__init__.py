"""The commands: one module each, plus their launcher and Hydra's start callback."""
