"""Configuration: YAML files and overrides, composed by Hydra, resolved and validated."""
