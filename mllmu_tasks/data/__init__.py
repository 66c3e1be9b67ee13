"""Where people and their pictures come from: sources, images, requests, and what is wrong with them."""
