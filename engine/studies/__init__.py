"""One folder per kind of run: the only place where data, models, mathematics and parts meet."""
