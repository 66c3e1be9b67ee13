"""`mllmu demo`: from nothing to a table of unlearning results, on the mini benchmark."""
