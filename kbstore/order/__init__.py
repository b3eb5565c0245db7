"""The order in which authors wrote the members of objects: rules that give it back to values that lost it."""
