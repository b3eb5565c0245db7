"""Run rounds on a schedule, and send alerts."""
