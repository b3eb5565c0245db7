"""Backends that count or fail on purpose, for tests and benchmarks."""
