"""Rounds of checks in worker processes, so that a check that hangs cannot stop a round."""
