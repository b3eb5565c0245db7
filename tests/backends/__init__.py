"""Every backend keeps one contract, and each its own promises."""
