"""The state tree: immutable nodes, addressed by content, whose root tells one document from every other."""
