"""Caches of a store on S3: chunk index, snapshots, disk cache, and garbage collection."""
