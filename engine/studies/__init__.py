"""One module per kind of run: the only rooms where data, models, mathematics and parts meet."""
