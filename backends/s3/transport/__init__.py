"""Requests to an S3 server: client, deadlines, errors and options."""
