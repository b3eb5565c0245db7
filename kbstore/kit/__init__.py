"""Tools for every package: errors, clock, escaping, forks, trust. Nothing of kbstore is imported here."""
