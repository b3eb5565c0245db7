"""Split SQL into statements, by the rules of each dialect."""
