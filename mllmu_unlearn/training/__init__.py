"""From forget and retain rows to trained weights."""
