"""The model room of evaluation and training: opening, prompts to tensors, image features, answering."""
