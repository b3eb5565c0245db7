"""Run migrations so that history and database always agree."""
