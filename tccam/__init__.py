"""Temporal-consistent class activation maps."""
