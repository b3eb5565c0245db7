"""The JSON file for editing, and the version that the file was taken from."""
