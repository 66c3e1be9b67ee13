"""All contact with lmms-eval."""
