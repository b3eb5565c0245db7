"""Random input against references: what is read, patched and named, at length in `make test-long`."""
