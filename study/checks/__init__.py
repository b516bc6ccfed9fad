"""Checks before a budget is spent: pipeline, learning rate, cheap baselines."""
