"""The state tree: immutable nodes, addressed by content; the root's address identifies the document."""
