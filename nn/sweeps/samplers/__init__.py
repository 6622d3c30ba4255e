"""Samplers: each proposes the points that trials try."""
