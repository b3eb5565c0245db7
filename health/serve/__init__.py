"""Answers about health over HTTP."""
