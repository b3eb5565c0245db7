"""The JSON file that people edit, and the version that it was taken from."""
