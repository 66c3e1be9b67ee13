"""What is asked: one folder a benchmark."""
