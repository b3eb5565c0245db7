"""Split SQL into statements, exactly enough for each dialect."""
