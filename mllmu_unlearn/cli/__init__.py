"""`mllmu ...`: one small file a command."""
