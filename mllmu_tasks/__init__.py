"""MLLMU-Bench as lmms-eval tasks. Importing this package is cheap and never imports torch."""

__version__ = "0.2.0"
