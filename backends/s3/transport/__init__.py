"""Requests to an S3 server: the client, its deadlines, errors and options."""
