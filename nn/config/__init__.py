"""From YAML files and a command line to one plain, checked configuration; Hydra is met here."""
