"""The log on S3: find its head, append to it, read it with few requests."""
