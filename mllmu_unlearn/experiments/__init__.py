"""Commands that run other commands: demo, sweep, several adapters."""
