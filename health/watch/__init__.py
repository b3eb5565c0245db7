"""Rounds on a schedule, with alerts."""
