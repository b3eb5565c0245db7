"""The author's order of the members of objects: rules for restoring the order in values without order."""
