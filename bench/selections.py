"""The selections that other packages offer too: do they rank samples as Winnow does, and how fast, in one run.

    pip install --no-deps wana==0.5.1 dprune==0.0.1 datacull==1.0.2
    pip install orjsonl  # datacull needs it; what else the three ask for is here, or not used by this bench
    python -m bench.selections [--model FOLDER] [--data alpaca.parquet] [--rows 40] [--repeats 2]

Without a model a small student is made from scratch; without data it reads the demo set. A package that is missing is
said to be, and Winnow is measured alone. Everything computes on the CPU, where wana always does. Ways take turns and
the best of `--repeats` counts; reading the text as tokens counts, loading a model does not.

If the ranks differ, the definitions do. Each pair is compared as the packages come, and then on equal terms, which
must agree but for rounding:

- **IFD** (wana). wana reads a prompt in the model's chat template; Winnow reads rows of instruction, input and response
  in Alpaca's form unless the recipe says `chat`. wana scores the text of a response, Winnow its end token too. Both put
  a begin token (else the end token) before a response without its prompt, also if the tokenizer puts none. (Winnow did
  not until this bench compared them: of SmolLM2 the first token then did not count, and the one after it had a loss of
  13 nats.) Both take means over tokens and leave ratios above 1 for last. wana loads the number format of the file
  (bfloat16 here), Winnow computes in float32 on a CPU; wana refuses a sample longer than 4,096 tokens, Winnow cuts it
  to `models.max_length`. (Nothing is cut here.)
- **Distance to the nearest k-means centre** (dprune). Its state of a sample is the last layer's at the *first* token,
  as BERT's CLS. A causal model has seen nothing but that token there, so samples that begin alike have one state.
  Winnow has the teacher's mean over the response, projected to 64 numbers. Given equal states both find centres from
  random starts (dprune the best of ten, Winnow one), so even then they differ.
- **Cross-entropy** (dprune): equal. **Forgetting** (dprune): a sample that is never right counts 0 there, and here as
  many as there are epochs, above all others, as in the paper. **AUM** (datacull): margins of probabilities there, of
  logits here, as in the paper. **Strata** (datacull): `num_strata` edges there, so one stratum fewer, and the highest
  score in one of its own; its `pruning_rate` is the share that is kept.

dprune's perplexity is that of a KenLM n-gram model, not of a language model that is to be trained; TDDS, RCAP, RS2 and
MetriQ of datacull have no counterpart here.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

from bench import selections_peers as peers
from bench.scoring import peak
from bench.scoring_setup import CPU, machine
from bench.selections_setup import (
    Proxy,
    Student,
    digits_proxy,
    dynamics_of,
    load_student,
    scratch_student,
    student_ifd,
    student_states,
)
from engine.data.loading import DEMO
from engine.data.sources import Row, read_rows
from engine.pruning import scores
from engine.pruning.instruction_scores import cluster_distance
from engine.pruning.select import STRATA, select, share_count, stratum_of

Scores = NDArray[np.float64]
Way = Callable[[], Scores]

FRACTION = 0.3
SKIP = 0.1  # of the hardest, for strata
SEED = 0
CLUSTERS = 6
LEAST = 20  # rows
IN_MEMORY = 8  # of the longest rows, whose peak memory is measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="folder of a causal language model")
    parser.add_argument("--data", default=DEMO, help="a set of instruction, input and response")
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args()
    if options.rows < LEAST:
        parser.error(f"--rows must be at least {LEAST}: fewer say nothing about ranks")
    print(machine(CPU))
    for package in peers.PACKAGES:
        print(peers.status(package))
    with tempfile.TemporaryDirectory(prefix="winnow-bench-") as folder, patch("torch.cuda.is_available", lambda: False):
        source = options.model or scratch_student(Path(folder))
        student = load_student(source)
        rows = read_rows(options.data, limit=2000).rows
        chosen = np.sort(np.random.default_rng(SEED).permutation(len(rows))[: options.rows])
        rows = [rows[i] for i in chosen]
        size = student.model.num_parameters() / 1e6
        print(f"\n{options.model or 'a student from scratch'}, {size:.1f} M parameters; {len(rows)} rows")
        instruction_following_difficulty(student, rows, options.repeats)
        cluster_distances(student, rows, options.repeats)
        labelled(digits_proxy(epochs=12, flipped=0.1, seed=SEED), Path(folder), options.repeats)


def instruction_following_difficulty(student: Student, rows: Sequence[Row], repeats: int) -> None:
    """The ratio with and without the prompt; the order is that of the ratios, the choice leaves those above 1 out."""
    ours = partial(student_ifd, student, template="chat")
    ways: dict[str, Callable[[Sequence[Row]], Scores]] = {"Winnow": ours}
    if peers.missing("wana") is None:
        ways["wana"] = peers.wana_ifd(student.source)
        ways["wana in float32"] = peers.wana_ifd(student.source, torch.float32)
    found, seconds = race({name: partial(way, rows) for name, way in ways.items()}, repeats)
    if peers.missing("wana") is None:
        alpaca = student_ifd(student, rows, template="alpaca")
        equal = student_ifd(student, rows, template="chat", ends=False)
        wana = found["wana in float32"]
        compare(
            "IFD",
            {
                "as they come: Alpaca's form, wana in the model's own number format": (alpaca, found["wana"]),
                "both in the chat template, in float32": (found["Winnow"], wana),
                "and without the end token": (equal, wana),
            },
            strength=np.abs,
        )
        print(f"\nlargest difference of a ratio on equal terms: {np.nanmax(np.abs(equal - wana)):.1e}")
    longest = sorted(rows, key=lambda row: -len(row["response"]))[:IN_MEMORY]
    speeds(len(rows), seconds, {name: partial(way, longest) for name, way in ways.items()})


def cluster_distances(student: Student, rows: Sequence[Row], repeats: int) -> None:
    """How far each sample is from the nearest k-means centre."""
    states = student_states(student, rows)
    ways: dict[str, Way] = {
        "Winnow": lambda: cluster_distance(student_states(student, rows), CLUSTERS, SEED),
    }
    if peers.missing("dprune") is None:
        responses = [row["response"] for row in rows]
        peers.dprune_states(student.source, responses[:1])  # loads the model, which does not count
        ways["dprune"] = partial(peers.dprune_distance, student.source, responses, CLUSTERS)
    found, seconds = race(ways, repeats)
    if peers.missing("dprune") is None:
        given = peers.dprune_distance_of(states, CLUSTERS)
        pairs = {"each its own states of the responses": (found["Winnow"], found["dprune"])}
        pairs["Winnow's states for both"] = found["Winnow"], given
        pairs["two starts of Winnow alone"] = found["Winnow"], cluster_distance(states, CLUSTERS, SEED + 1)
        compare(f"Distance to the nearest of {CLUSTERS} centres", pairs)
        whole = peers.dprune_states(student.source, student.texts(rows[:IN_MEMORY]))
        spread = np.linalg.norm(whole - whole[0], axis=1).max() / np.linalg.norm(whole[0])
        print(f"\ndprune's states of {len(whole)} whole texts differ by at most {spread:.1e} of their length")
    speeds(len(rows), seconds)


def labelled(proxy: Proxy, folder: Path, repeats: int) -> None:
    """Scores from one proxy run on digits, a tenth of whose labels are wrong; both sides get the same logits."""
    dynamics = dynamics_of(proxy.logits, proxy.labels)
    n, last = len(proxy.labels), len(proxy.logits)
    print(f"\ndigits: {n:,} training samples, {last} epochs of one proxy run")
    hard = scores.aum(dynamics)
    if peers.missing("dprune") is None:
        found, seconds = race(
            {
                "Winnow": lambda: scores.loss(dynamics_of(proxy.logits, proxy.labels), last),
                "dprune": lambda: peers.dprune_cross_entropy(proxy.logits[-1], proxy.labels),
            },
            repeats,
        )
        compare("Cross-entropy", {"at the last epoch": (found["Winnow"], found["dprune"])})
        speeds(n, seconds)
        found, seconds = race(
            {
                "Winnow": lambda: scores.forgetting(dynamics_of(proxy.logits, proxy.labels)),
                "dprune": lambda: peers.dprune_forgetting(proxy.logits, proxy.labels),
            },
            repeats,
        )
        learned = dynamics.correct[0].any(0)
        pairs = {"all samples": (found["Winnow"], found["dprune"])}
        pairs[f"without the {(~learned).sum()} that are never right"] = tuple(each[learned] for each in found.values())
        compare("Forgetting", pairs)
        speeds(n, seconds)
    if peers.missing("datacull") is None:
        turns = iter(range(repeats))
        found, seconds = race(
            {
                "Winnow": lambda: scores.aum(dynamics_of(proxy.logits, proxy.labels)),
                "datacull": lambda: peers.datacull_aum(proxy.logits, proxy.labels, folder / f"aum-{next(turns)}"),
            },
            repeats,
        )
        probabilities = scores.aum(dynamics_of(torch.softmax(proxy.logits, -1), proxy.labels))
        pairs = {"margins of logits, and of probabilities": (hard, found["datacull"])}
        pairs["margins of probabilities for both"] = probabilities, found["datacull"]
        compare("AUM (low margins high)", pairs)
        speeds(n, seconds)
        strata(hard, proxy.labels)


def strata(hard: Scores, labels: torch.Tensor) -> None:
    """Which samples of a stratum are kept is random on both sides, so how many of each are compared."""
    ours = select(hard, FRACTION, "strata", skip_hardest=SKIP, seed=SEED)
    left = np.argsort(-hard, kind="stable")[share_count(len(hard), SKIP) :]
    print("\n| strata | kept by Winnow | kept by datacull | in common, counted in each stratum |")
    print("| --- | ---: | ---: | ---: |")
    for count in (STRATA, STRATA + 1):
        theirs = peers.datacull_strata(hard, labels, FRACTION, SKIP, count)
        common = in_strata(hard, left, ours, theirs)
        print(f"| datacull told {count} | {ours.sum()} | {theirs.sum()} | {common:.2f} |")


def in_strata(values: Scores, left: NDArray[np.int64], ours: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> float:
    """The share of what we keep that they keep as well, if only the stratum of a sample matters."""
    stratum = stratum_of(values[left])
    counts = [np.bincount(stratum, weights=kept[left], minlength=STRATA) for kept in (ours, theirs)]
    return float(np.minimum(*counts).sum() / ours.sum())


def race(ways: dict[str, Way], repeats: int) -> tuple[dict[str, Scores], dict[str, float]]:
    """What each way finds, and the seconds of its best turn; they take turns."""
    found: dict[str, Scores] = {}
    seconds: dict[str, float] = {}
    for _ in range(repeats):
        for name, way in ways.items():
            started = time.perf_counter()
            found[name] = way()
            taken = time.perf_counter() - started
            seconds[name] = min(taken, seconds.get(name, taken))
    return found, seconds


def compare(
    title: str, pairs: dict[str, tuple[Scores, Scores]], strength: Callable[[Scores], Scores] = lambda found: found
) -> None:
    """Ranks are those of `strength` of the scores."""
    print(f"\n| {title} | rank correlation | top {FRACTION:.0%} in both |\n| --- | ---: | ---: |")
    for name, (ours, theirs) in pairs.items():
        print(f"| {name} | {rank_correlation(strength(ours), strength(theirs)):.3f} | {in_both(ours, theirs):.2f} |")


def rank_correlation(ours: Scores, theirs: Scores) -> float:
    """Spearman's, over samples that both could score; NaN if either side gives all of them one score."""
    known = ~(np.isnan(ours) | np.isnan(theirs))
    ours, theirs = ours[known], theirs[known]
    if len(ours) < 2 or np.ptp(ours) == 0 or np.ptp(theirs) == 0:
        return float("nan")
    return float(spearmanr(ours, theirs).statistic)


def in_both(ours: Scores, theirs: Scores) -> float:
    """The share of Winnow's top that is in the peer's as well; equal scores are ordered alike."""
    one, other = (select(found, FRACTION, seed=SEED) for found in (ours, theirs))
    return float((one & other).sum() / one.sum())


def speeds(n: int, seconds: dict[str, float], memory: dict[str, Way] | None = None) -> None:
    peaks = {}
    for name, way in (memory or {}).items():
        with peak(CPU) as most:
            way()
        peaks[name] = f" {most[0] / 2**20:,.0f} MiB |"
    head = f" peak memory, {IN_MEMORY} longest rows |" if memory else ""
    print(f"\n| way | rows/s | Winnow's seconds / these |{head}\n| --- | ---: | ---: |{' ---: |' if memory else ''}")
    for name, taken in seconds.items():
        print(f"| {name} | {n / taken:,.2f} | {seconds['Winnow'] / taken:.2f} |{peaks.get(name, '')}")


if __name__ == "__main__":
    main()
