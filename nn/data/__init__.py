"""Dataset sources, splits, augmentation and the description of model inputs."""
