"""Tools for every package: errors, clock, escaping, forks, trust. Modules of `kit` import only modules of `kit`."""
