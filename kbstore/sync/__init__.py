"""Move histories between stores, streams and files."""
