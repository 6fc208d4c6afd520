"""`make bench`: every benchmark, one after the other."""

from bench import cluster, distillation, ingest, scoring, selections, store, students

if __name__ == "__main__":
    scoring.main()
    selections.main()
    store.main()
    ingest.main()
    students.main()
    distillation.main()
    cluster.main()
