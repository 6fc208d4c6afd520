"""`make bench`: every benchmark, one after the other."""

from bench import distillation, scoring, store, students

if __name__ == "__main__":
    scoring.main()
    store.main()
    students.main()
    distillation.main()
