"""The models of this package by their name on lmms-eval's command line."""

OUR_MODELS = ("mllmu_hf", "mllmu_replay")
"""Of lmms-eval's --model: those whose empty answers are answers: whatever fails in them ends the run."""
