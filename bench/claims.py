"""What finished grids show about the claims of KD on pruned data, as tables for docs/results.md.

    python -m bench.claims RUN [--workspace DIR] [--teachers RUN] [--noise RUN]

The KD weight is selected by the mean accuracy over seeds on the held-out part of the training set, then measured
on the test set after the last epoch. Differences are paired by seed, with 95 % Student-t intervals; "settled" means
that the interval leaves zero out.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd

from engine.analysis.intervals import Interval, interval
from engine.storage.ledger import Ledger
from engine.storage.parts import read_table
from engine.storage.workspace import Workspace, open_workspace

SELF = "self"  # the teacher of the student's own architecture, in the ready-made recipes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--workspace")
    parser.add_argument("--teachers", help="a run whose teachers are compared with its teacher `self`")
    parser.add_argument("--noise", help="a run with flipped labels")
    options = parser.parse_args()
    workspace = open_workspace(options.workspace)
    cells = read_grid(workspace, options.run)
    gains(cells)
    best_weights(cells)
    against_random(cells)
    if options.teachers:
        sizes(read_grid(workspace, options.teachers))
    if options.noise:
        flipped(read_grid(workspace, options.noise))


def read_grid(workspace: Workspace, run: str) -> pd.DataFrame:
    ledger = Ledger(workspace)
    found = ledger.run(run).id
    cells = read_table(workspace, ledger.parts(found, "grid"), "grid").to_pandas()
    return cells[cells["failed"] == ""]


def at_best_weight(cells: pd.DataFrame, *, kd: bool) -> pd.DataFrame:
    """The cells of the weight that is best on the held-out part: of all above 0 if `kd`, else weight 0."""
    cells = cells[(cells["kd_weight"] > 0) == kd]
    valid = cells.groupby("kd_weight")["valid"].mean().round(9)  # the smaller one of equal weights
    return cells[cells["kd_weight"] == valid.idxmax()].set_index("seed").sort_index()


def in_points(found: Interval) -> str:
    """`+6.1 (+4.9 to +7.3)` in points, with a note if it is not settled."""
    points = [100 * value for value in (found.mean, found.low, found.high)]
    return f"{points[0]:+.1f} ({points[1]:+.1f} to {points[2]:+.1f}){'' if found.settled else ', not settled'}"


def gains(cells: pd.DataFrame) -> None:
    print("\nTest accuracy without a teacher, the best KD weight, and what it gains in points\n")
    print("| score | kept | no teacher | best weight | gain |\n| --- | ---: | ---: | ---: | ---: |")
    for (score, fraction), group in cells.groupby(["score", "fraction"], sort=True):
        assert isinstance(fraction, float)
        without, with_kd = at_best_weight(group, kd=False), at_best_weight(group, kd=True)
        if fraction == 1 and score != "random":
            continue  # the same students
        gain = in_points(interval(with_kd["accuracy"] - without["accuracy"]))
        print(
            f"| {score if fraction < 1 else 'all'} | {fraction:.0%} | {100 * without['accuracy'].mean():.1f} % "
            f"| {with_kd['kd_weight'].iloc[0]:g} | {gain} |"
        )


def best_weights(cells: pd.DataFrame) -> None:
    """The weight best on the held-out part, seed by seed; ties are averaged."""
    print("\nBest KD weight by fraction (per seed, ties averaged; mean and interval over seeds)\n")
    scores = ["random", "every score"]
    print(f"| kept | {' | '.join(scores)} |\n| ---: | {' | '.join('---:' for _ in scores)} |")
    best: dict[tuple[str, float], pd.Series] = {}
    for fraction in sorted(cells["fraction"].unique(), reverse=True):
        row = []
        for name in scores:
            group = cells[(cells["fraction"] == fraction) & ((cells["score"] == name) | (name == scores[1]))]
            per_seed = group.groupby(["seed", "score"]).apply(_best_weight).groupby("seed").mean()
            best[name, fraction] = per_seed
            found = interval(per_seed)
            row.append(f"{found.mean:.2f} ({found.low:.2f} to {found.high:.2f})")
        print(f"| {fraction:.0%} | {' | '.join(row)} |")
    low, high = cells["fraction"].min(), cells["fraction"].max()
    for name in scores:
        found = interval(best[name, low] - best[name, high])
        settled = "settled" if found.settled else "not settled"
        print(f"\n{name}: best weight at {low:.0%} minus that at {high:.0%}: {found.mean:+.2f} "
              f"({found.low:+.2f} to {found.high:+.2f}), {settled}")  # fmt: skip


def _best_weight(group: pd.DataFrame) -> float:
    return float(group.loc[np.isclose(group["valid"], group["valid"].max()), "kd_weight"].mean())


def against_random(cells: pd.DataFrame) -> None:
    print("\nEach score minus random, both with their own best KD weight, in points of test accuracy\n")
    fractions = sorted(fraction for fraction in cells["fraction"].unique() if fraction < 1)
    print("| score | " + " | ".join(f"{fraction:.0%}" for fraction in fractions) + " |")
    print("| --- | " + " | ".join("---:" for _ in fractions) + " |")
    for score in sorted(set(cells["score"]) - {"random"}):
        row = []
        for fraction in fractions:
            both = [
                at_best_weight(cells[(cells["score"] == name) & (cells["fraction"] == fraction)], kd=True)["accuracy"]
                for name in (score, "random")
            ]
            row.append(in_points(interval(both[0] - both[1])))
        print(f"| {score} | {' | '.join(row)} |")


def sizes(cells: pd.DataFrame) -> None:
    others = [teacher for teacher in dict.fromkeys(cells["teacher"]) if teacher != SELF]
    print(f"\nEach teacher minus {SELF}, in points of test accuracy of the student, random samples\n")
    fractions = sorted(cells["fraction"].unique())
    print("| teacher | " + " | ".join(f"{fraction:.0%}" for fraction in fractions) + " |")
    print("| --- | " + " | ".join("---:" for _ in fractions) + " |")
    for teacher in others:
        row = []
        for fraction in fractions:
            both = [
                at_best_weight(cells[(cells["teacher"] == name) & (cells["fraction"] == fraction)], kd=True)["accuracy"]
                for name in (teacher, SELF)
            ]
            row.append(in_points(interval(both[0] - both[1])))
        print(f"| {teacher} | {' | '.join(row)} |")


def flipped(cells: pd.DataFrame) -> None:
    share = cells["noise"].max()
    print(f"\nWith {share:.0%} of the training labels flipped: accuracy, gain of the teacher, flipped among the kept\n")
    print("| score | kept | no teacher | best weight | gain | flipped |\n| --- | ---: | ---: | ---: | ---: | ---: |")
    for (score, fraction), group in cells[cells["noise"] == share].groupby(["score", "fraction"], sort=True):
        assert isinstance(fraction, float)
        if fraction == 1 and score != "random":
            continue
        without, with_kd = at_best_weight(group, kd=False), at_best_weight(group, kd=True)
        gain = in_points(interval(with_kd["accuracy"] - without["accuracy"]))
        print(
            f"| {score if fraction < 1 else 'all'} | {fraction:.0%} | {100 * without['accuracy'].mean():.1f} % "
            f"| {with_kd['kd_weight'].iloc[0]:g} | {gain} "
            f"| {(group['flipped'] / group['samples']).mean():.0%} |"
        )


if __name__ == "__main__":
    main()
