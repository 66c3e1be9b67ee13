"""What a run leaves: card, record, exports, uploads, commands to copy."""
