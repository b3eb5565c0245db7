"""The author's order of the members of objects: rules that restore the order in values without order."""
