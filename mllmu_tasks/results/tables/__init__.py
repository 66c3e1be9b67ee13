"""Runs -> one table."""
