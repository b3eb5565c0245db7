"""Measures the store against the yardsticks that it is held to: ``python -m benchmarks``."""
