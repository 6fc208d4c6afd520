"""What finished grids show about the claims of KD on pruned data, as tables for docs/results.md.

    python -m bench.claims RUN [--workspace DIR] [--teachers RUN] [--noise RUN]

The KD weight is selected by the mean accuracy over seeds on the held-out part of the training set, then measured
on the test set after the last epoch. Differences are paired by seed, with 95 % Student-t intervals over seeds; what is
not settled is decided by Holm's correction over all differences of a table.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

import numpy as np
import pandas as pd

from engine.analysis.contests import family
from engine.analysis.intervals import interval
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


def in_points(differences: Mapping[str, pd.Series]) -> dict[str, str]:
    """`+6.1 (+4.9 to +7.3)` in points for each difference of a table, with a note if it is not settled."""
    found = family(differences)
    words = {}
    for name, over in found.over.items():
        points = [100 * value for value in (over.mean, over.low, over.high)]
        settled = "" if name in found.settled else ", not settled"
        words[name] = f"{points[0]:+.1f} ({points[1]:+.1f} to {points[2]:+.1f}){settled}"
    return words


def gains(cells: pd.DataFrame) -> None:
    print("\nTest accuracy without a teacher, the best KD weight, and what it gains in points\n")
    print("| score | kept | no teacher | best weight | gain |\n| --- | ---: | ---: | ---: | ---: |")
    for row, _ in with_gains(cells):
        print(row)


def with_gains(cells: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """A row of a table for each score and fraction, and the cells it is about."""
    rows: dict[str, tuple[str, pd.DataFrame]] = {}
    found: dict[str, pd.Series] = {}
    for (score, fraction), group in cells.groupby(["score", "fraction"], sort=True):
        assert isinstance(fraction, float)
        if fraction == 1 and score != "random":
            continue  # the same students
        without, with_kd = at_best_weight(group, kd=False), at_best_weight(group, kd=True)
        name = f"{score} {fraction}"
        found[name] = with_kd["accuracy"] - without["accuracy"]
        row = (
            f"| {score if fraction < 1 else 'all'} | {fraction:.0%} | {100 * without['accuracy'].mean():.1f} % "
            f"| {with_kd['kd_weight'].iloc[0]:g}"
        )
        rows[name] = row, group
    words = in_points(found)
    return [(f"{row} | {words[name]} |", group) for name, (row, group) in rows.items()]


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
    beside(cells[cells["fraction"] < 1], "score", "random")


def sizes(cells: pd.DataFrame) -> None:
    print(f"\nEach teacher minus {SELF}, in points of test accuracy of the student, random samples\n")
    beside(cells, "teacher", SELF)


def beside(cells: pd.DataFrame, column: str, baseline: str) -> None:
    """A table of what each other value of a column reaches at each fraction, minus what the baseline reaches."""
    fractions = sorted(cells["fraction"].unique())
    others = [name for name in dict.fromkeys(cells[column]) if name != baseline]
    found: dict[str, pd.Series] = {}
    for name in others:
        for fraction in fractions:
            at = cells[cells["fraction"] == fraction]
            one, two = (at_best_weight(at[at[column] == each], kd=True)["accuracy"] for each in (name, baseline))
            found[f"{name} {fraction}"] = one - two
    words = in_points(found)
    print(f"| {column} | " + " | ".join(f"{fraction:.0%}" for fraction in fractions) + " |")
    print("| --- | " + " | ".join("---:" for _ in fractions) + " |")
    for name in others:
        print(f"| {name} | {' | '.join(words[f'{name} {fraction}'] for fraction in fractions)} |")


def flipped(cells: pd.DataFrame) -> None:
    share = cells["noise"].max()
    print(f"\nWith {share:.0%} of the training labels flipped: accuracy, gain of the teacher, flipped among the kept\n")
    print("| score | kept | no teacher | best weight | gain | flipped |\n| --- | ---: | ---: | ---: | ---: | ---: |")
    for row, group in with_gains(cells[cells["noise"] == share]):
        print(f"{row} {(group['flipped'] / group['samples']).mean():.0%} |")


if __name__ == "__main__":
    main()
