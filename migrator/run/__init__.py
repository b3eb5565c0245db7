"""Run migrations so that the history never says more or less than the database."""
