"""What a method is written with: samples, the sides of a batch, losses, its context, places, neurons and masks."""
