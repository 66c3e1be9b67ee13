"""Flags and recipes -> one checked configuration a command."""
