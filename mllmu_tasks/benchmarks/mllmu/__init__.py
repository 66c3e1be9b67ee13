"""MLLMU-Bench (arXiv 2410.22108): its vocabulary, rows, prompts, draws and protocol."""
