"""How an answer becomes a number."""
