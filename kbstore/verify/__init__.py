"""Prove a history from its bytes, and save what can be proved of a damaged one."""
