"""The objects of a store on S3, byte by byte, and their names."""
