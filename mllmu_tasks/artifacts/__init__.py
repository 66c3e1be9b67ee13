"""Adapter folders, weights and their identity, folders that are whole or absent."""
