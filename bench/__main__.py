"""`make bench`: every benchmark, one after the other."""

from bench import scoring, store

if __name__ == "__main__":
    scoring.main()
    store.main()
