"""Differences between two versions by entry, and the forms for people and programs."""
