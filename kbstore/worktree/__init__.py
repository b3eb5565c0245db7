"""The JSON file for editing, and the base version of the file."""
