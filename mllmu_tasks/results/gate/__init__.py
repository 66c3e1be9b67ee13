"""Rules and results -> a verdict with an exit code."""
