"""JSON documents (RFC 8259): pointers (RFC 6901), patches (RFC 6902), their differences and merges."""
