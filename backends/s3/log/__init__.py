"""The log on S3: find the head, append slots, read records with few requests."""
