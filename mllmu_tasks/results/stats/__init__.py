"""Means, errors and tests where people are the sample."""
