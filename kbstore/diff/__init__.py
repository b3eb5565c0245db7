"""Differences between two versions by entry, and the forms in which people and programs read them."""
