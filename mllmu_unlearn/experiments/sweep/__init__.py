"""`mllmu sweep`: a grid of `mllmu unlearn` runs, each evaluated by lmms-eval, one row each in a table."""
