"""Samplers, which propose the points of trials."""
