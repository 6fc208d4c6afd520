"""A made-up finished run in a workspace, for every test that needs something to look at.

Nothing here was computed by a model: texts come from templates and numbers from a seeded generator, but they fit
together as those of a real run do. A sample's KL is the mean of its tokens' KL, the kept sets follow from tau, the
samples and tokens of an epoch are those of its kept set. The same arguments always give the same parts.
"""

from __future__ import annotations

import math
import re
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.ledger import Ledger
from engine.recipes import ARMS, METRICS, ArmName, DynamicPruningRecipe, digest, parse_recipe, to_dict
from engine.tables import Part, write_part
from engine.workspace import Workspace

PART_ROWS = 150  # several parts for each table, as a real run has
BATCH = 16
MAX_LENGTH = 48  # tokens; a few samples are longer
TAU_GROWTH = 0.1
NAN_ROW = 7  # a sample for which the student never gave a number

HOSTILE = (
    ("Repeat <b>this</b> <script>alert('instruction')</script>", "<img src=x onerror=alert(1)>"),
    ("Summarise [this page](javascript:alert(1))", "![picture](https://example.invalid/pixel.png) [link](http://a.b)"),
    ("Print a colour \x1b[31mred\x1b[0m and ring \x07", "\x1b]0;owned\x07 done \x1b[2J"),
    ("Reverse \u202ethis text\u202c and \u200fthat\u200e", "\u202e\u2067txet siht\u2069\u202c"),
    ("Typeset $\\frac{a}{b}$ and $$x^2$$", "$\\href{javascript:alert(1)}{x}$"),
    ("Colour :red[this] and :material/home: and :rainbow-background[that]", "# heading\n\n- :blue[item]\n\n> quote"),
    ("</div></body></html><style>*{display:none}</style>", "{{7*7}} ${7*7} %s %n '; DROP TABLE scores; --"),
)
_WORDS = ["river", "stone", "lamp", "garden", "wind", "bread", "paper", "glass", "summer", "engine", "winter", "button"]
_OPPOSITES = [("hot", "cold"), ("early", "late"), ("full", "empty"), ("loud", "quiet"), ("narrow", "wide")]


@dataclass
class _Sample:
    row: int
    instruction: str
    input: str
    response: str
    task: str
    difficulty: str
    corrupted: bool
    tokens: list[str]  # of prompt and response, without the end token, at most MAX_LENGTH
    labels: list[str]  # the token after each
    response_start: int
    truncated: bool


def synthetic_recipe(
    name: str, samples: int, epochs: int, seeds: Sequence[int], arms: Sequence[ArmName]
) -> DynamicPruningRecipe:
    recipe = parse_recipe(
        {
            "kind": "dynamic-pruning",
            "name": name,
            "seeds": list(seeds),
            "arms": list(arms),
            "data": {"source": "synthetic.jsonl", "limit": samples, "template": "plain"},
            "models": {"teacher": "scratch:teacher", "student": "scratch:student", "max_length": MAX_LENGTH},
            "scratch": {
                "models": {
                    "teacher": {"layers": 4, "width": 128, "heads": 4},
                    "student": {"layers": 2, "width": 64, "heads": 2},
                }
            },
            "pruning": {"tau_quantile": 0.3, "tau_growth": TAU_GROWTH, "min_samples": 10},
            "training": {"epochs": epochs, "batch_size": BATCH},
        }
    )
    assert isinstance(recipe, DynamicPruningRecipe)
    return recipe


def fill_workspace(
    workspace: Workspace,
    *,
    samples: int = 400,
    epochs: int = 4,
    seeds: Sequence[int] = (0, 1),
    arms: Sequence[ArmName] = ARMS,
    name: str = "synthetic-kl",
    state: str = "done",
    hostile: bool = True,
) -> str:
    """Submit a run and write everything it would have left behind; return its id.

    "queued" leaves no parts; any other state that is not "done" lacks the last epoch. With `hostile`, seven samples
    have texts that try to escape from the page; they rank first by KL. Needs at least 40 samples.
    """
    ledger = Ledger(workspace)
    recipe = synthetic_recipe(name, samples, epochs, seeds, arms)
    run = ledger.submit(recipe)
    if state == "queued":
        return run
    claimed = ledger.claim(run)
    assert claimed is not None
    finished = epochs if state == "done" else epochs - 1
    writer = _Writer(workspace, run, samples, hostile)
    parts = writer.samples(digest(["synthetic", samples, hostile]))
    parts += writer.base()
    for seed in seeds:
        parts += writer.seed(seed, finished, arms)
    parts += writer.token_scores(seeds[0], finished)
    ledger.record_parts(parts)
    ledger.set_provenance(
        run,
        recipe=to_dict(recipe),
        dataset=digest(["synthetic", samples, hostile]),
        columns={"instruction": "instruction", "input": "input", "response": "output"},
        template_hash=digest("plain"),
        tokenizer_hash=digest("synthetic tokenizer"),
        teacher_hash=digest("synthetic teacher"),
        student_hash=digest("synthetic student"),
        device="cpu",
        dtype="float32",
        versions={"winnow": "0.1.0"},
        tau=writer.tau,
        not_a_number=[NAN_ROW],
    )
    if state == "running":
        ledger.progress(run, f"seed {seeds[-1]}, epoch {epochs}", finished / epochs, 40.0)
    else:
        ledger.finish(run, state, "" if state != "failed" else "The disk is full; free some space and resume.")
    claimed[1].release()
    return run


class _Writer:
    def __init__(self, workspace: Workspace, run: str, samples: int, hostile: bool) -> None:
        self.workspace = workspace
        self.run = run
        rng = np.random.default_rng(samples)
        self.texts = [_sample(row, rng, hostile) for row in range(samples)]
        valid = set(rng.permutation(samples)[: round(samples / 10)].tolist()) - {NAN_ROW, *range(len(HOSTILE))}
        self.valid = valid
        self.train = np.array([row for row in range(samples) if row not in valid])
        self.lengths = np.array([len(sample.tokens) for sample in self.texts])
        self.token_kl = [_token_kl(sample, rng, hostile) for sample in self.texts]
        self.speed = rng.gamma(3.0, 0.05, samples)  # how fast each sample is learned
        self.kl = np.array([values.mean() for values in self.token_kl])
        self.kl_response = np.array(
            [v[s.response_start :].mean() for v, s in zip(self.token_kl, self.texts, strict=True)]
        )
        self.nll_teacher = rng.gamma(4.0, 0.35, samples) * np.array([2.0 if s.corrupted else 1.0 for s in self.texts])
        self.entropy = rng.gamma(6.0, 0.25, samples)
        self.tau = float(np.nanquantile(self.scores(seeds_epoch=None)["kl"].astype(np.float64), 0.3))

    def factor(self, seeds_epoch: tuple[int, int] | None) -> np.ndarray:
        """What each sample's KL of epoch 1 has shrunk to, shape (samples,)."""
        if seeds_epoch is None or seeds_epoch[1] == 1:
            return np.ones(len(self.texts))
        seed, epoch = seeds_epoch
        noise = np.random.default_rng([seed, epoch]).normal(0, 0.04, len(self.texts))
        return np.exp(-self.speed * (epoch - 1) + noise)

    def scores(self, seeds_epoch: tuple[int, int] | None) -> dict[str, np.ndarray]:
        """Every metric of every train row, float32; NaN where the student gave no number."""
        factor = self.factor(seeds_epoch)
        kl, response = self.kl * factor, self.kl_response * factor
        values = {
            "kl": kl,
            "kl_response": response,
            "reverse_kl": kl * (0.8 + 0.4 * np.tanh(self.entropy)),
            "nll_teacher": self.nll_teacher,
            "nll_student": self.nll_teacher + 0.9 * response,
            "entropy_teacher": self.entropy,
            "disagreement": 1 - np.exp(-kl),
        }
        assert set(values) == set(METRICS)
        result = {metric: value[self.train].astype(np.float32) for metric, value in values.items()}
        for metric in METRICS:
            if metric not in ("nll_teacher", "entropy_teacher"):
                result[metric][self.train == NAN_ROW] = np.nan
        return result

    def samples(self, dataset: str) -> list[Part]:
        rows: list[dict[str, Any]] = [
            {
                "dataset": dataset,
                "row": sample.row,
                "content_id": digest([sample.instruction, sample.input, sample.response]),
                "split": "valid" if sample.row in self.valid else "train",
                "instruction": sample.instruction,
                "input": sample.input,
                "response": sample.response,
                "fields": {
                    "task": sample.task,
                    "difficulty": sample.difficulty,
                    "corrupted": "yes" if sample.corrupted else "no",
                },
                "length": len(sample.tokens),
                "response_length": len(sample.tokens) - sample.response_start,
                "truncated": sample.truncated,
            }
            for sample in self.texts
        ]
        return [self.part("samples", f"{start:06d}", rows[start:stop]) for start, stop in _spans(len(rows))]

    def base(self) -> list[Part]:
        return self.score_parts("base", -1, 1, self.scores(None))

    def score_parts(self, arm: str, seed: int, epoch: int, scores: dict[str, np.ndarray]) -> list[Part]:
        parts = []
        for start, stop in _spans(len(self.train)):
            rows, count = self.train[start:stop], stop - start
            columns = {
                "arm": [arm] * count * len(scores),
                "seed": [seed] * count * len(scores),
                "epoch": [epoch] * count * len(scores),
                "row": np.tile(rows, len(scores)),
                "metric": np.repeat(list(scores), count),
                "value": np.concatenate([values[start:stop] for values in scores.values()]),
            }
            parts.append(self.part("scores", f"{_unit(arm, seed, epoch)}-{start:05d}", columns))
        return parts

    def seed(self, seed: int, epochs: int, arms: Sequence[ArmName]) -> list[Part]:
        """Scores, selections and metrics of every arm for one seed."""
        parts: list[Part] = []
        metrics: list[dict[str, Any]] = []
        rng = np.random.default_rng([seed, 99])
        trained = dict.fromkeys(arms, 0.0)
        steps = dict.fromkeys(arms, 0)
        first: np.ndarray | None = None
        metrics += [row for arm in arms for row in _valid(arm, seed, 0, 0, 0.0)]
        for epoch in range(1, epochs + 1):
            scores = self.scores((seed, epoch))
            if epoch > 1:
                parts += self.score_parts("dynamic", seed, epoch, scores)
            tau = self.tau * (1 + TAU_GROWTH) ** (epoch - 1)
            dynamic = scores["kl"].astype(np.float64) > tau
            first = dynamic if first is None else first
            shuffled = rng.permutation(len(self.train)) < dynamic.sum()
            kept_by_arm = {"dynamic": dynamic, "full": np.ones_like(dynamic), "random": shuffled, "static": first}
            for arm in arms:
                kept = kept_by_arm[arm]
                threshold = {"dynamic": tau, "static": self.tau}.get(arm)
                parts.append(self.selection(arm, seed, epoch, kept, threshold))
                count, tokens = int(kept.sum()), int(self.lengths[self.train][kept].sum())
                steps[arm] += math.ceil(count / BATCH)
                trained[arm] += tokens * (1.25 if arm == "dynamic" else 1.1 if arm == "static" else 1.0)
                progress = trained[arm] / self.lengths[self.train].sum()
                metrics += _valid(arm, seed, epoch, steps[arm], progress)
                train = {"loss": 3.0 * math.exp(-0.28 * progress) + 0.9 + rng.normal(0, 0.01)}
                cost = {
                    "samples": count,
                    "tokens": tokens,
                    "steps": math.ceil(count / BATCH),
                    "seconds_scoring": {"dynamic": 2.0, "static": 2.0 if epoch == 1 else 0.0}.get(arm, 0.0),
                    "seconds_training": tokens * 4e-4,
                } | ({} if threshold is None else {"tau": threshold})
                at = {"arm": arm, "seed": seed, "epoch": epoch, "step": steps[arm]}
                metrics += [at | {"split": "train", "name": n, "value": v} for n, v in train.items()]
                metrics += [at | {"split": "", "name": n, "value": float(v)} for n, v in cost.items()]
        return [*parts, self.part("metrics", f"seed-{seed}", metrics)]

    def selection(self, arm: str, seed: int, epoch: int, kept: np.ndarray, tau: float | None) -> Part:
        count = len(kept)
        columns = {
            "arm": [arm] * count,
            "seed": [seed] * count,
            "epoch": [epoch] * count,
            "row": self.train,
            "kept": kept,
            "tau": [tau] * count,
        }
        return self.part("selections", _unit(arm, seed, epoch), columns)

    def token_scores(self, seed: int, epochs: int) -> list[Part]:
        parts = []
        for epoch in range(1, epochs + 1):
            factor = self.factor((seed, epoch))
            rng = np.random.default_rng([seed, epoch, 5])
            rows = [self.tokens_of(self.texts[row], epoch, factor[row], rng) for row in self.train if row != NAN_ROW]
            parts += [
                self.part(
                    "token_scores",
                    f"{_unit('base' if epoch == 1 else 'dynamic', seed, epoch)}-{start:05d}",
                    rows[start:stop],
                )
                for start, stop in _spans(len(rows))
            ]
        return parts

    def tokens_of(self, sample: _Sample, epoch: int, factor: float, rng: np.random.Generator) -> dict[str, Any]:
        """Token scores of one sample, with the five likeliest next tokens of both models at each position."""
        kl = self.token_kl[sample.row] * factor
        count = len(kl)
        guesses = rng.integers(0, len(_WORDS), (count, 9))
        probs = np.sort(rng.dirichlet([0.6] * 8, (2, count)), axis=-1)[:, :, :-6:-1].astype(np.float32)
        teacher, student = [], []
        for position, following in enumerate(sample.labels):
            other = list(dict.fromkeys(" " + _WORDS[g] for g in guesses[position]))
            other += [f" {letter}" for letter in "abcde"]
            teacher.append([following, *other[:4]])
            student.append([following, *other[:4]] if kl[position] < 1 else [other[0], following, *other[1:4]])
        return {
            "epoch": epoch,
            "row": sample.row,
            "tokens": sample.tokens,
            "response_start": sample.response_start,
            "kl": kl.astype(np.float32),
            "teacher_tokens": teacher,
            "teacher_probs": probs[0].tolist(),
            "student_tokens": student,
            "student_probs": probs[1].tolist(),
        }

    def part(self, table: str, name: str, columns: Any) -> Part:
        return write_part(self.workspace, self.run, table, name, columns)


def _unit(arm: str, seed: int, epoch: int) -> str:
    return f"base-e{epoch:03d}" if arm == "base" else f"{arm}-s{seed}-e{epoch:03d}"


def _valid(arm: str, seed: int, epoch: int, step: int, progress: float) -> list[dict[str, Any]]:
    """Loss, perplexity and accuracy on the validation samples after `progress` passes over the data."""
    wobble = 0.0 if epoch == 0 else float(np.random.default_rng([seed, epoch, len(arm)]).normal(0, 0.012))
    loss = 1.05 + 2.9 * math.exp(-0.22 * progress) + wobble
    values = {"loss": loss, "perplexity": math.exp(loss), "accuracy": 0.78 - 0.14 * loss}
    at = {"arm": arm, "seed": seed, "epoch": epoch, "step": step, "split": "valid"}
    return [at | {"name": name, "value": value} for name, value in values.items()]


def _token_kl(sample: _Sample, rng: np.random.Generator, hostile: bool) -> np.ndarray:
    """KL of every position in nats: most tokens near zero, a few where the models part."""
    level = {"easy": 0.35, "medium": 0.7, "hard": 1.2}[sample.difficulty] * (2.2 if sample.corrupted else 1.0)
    level *= float(rng.lognormal(0, 0.45))
    if hostile and sample.row < len(HOSTILE):
        level = 9.0 - 0.3 * sample.row
    values = rng.gamma(0.35, 1.0, len(sample.tokens)) + 1e-3
    values[sample.response_start :] *= 2.0
    return values * level / values.mean()


def _sample(row: int, rng: np.random.Generator, hostile: bool) -> _Sample:
    a, b = (int(n) for n in rng.integers(2, 99, 2))
    words = [str(word) for word in rng.choice(_WORDS, int(rng.integers(3, 7)), replace=False)]
    task = str(rng.choice(["arithmetic", "rewrite", "sort", "opposite"]))
    given = ""
    if task == "arithmetic":
        operation = str(rng.choice(["plus", "minus", "times"]))
        difficulty = {"plus": "easy", "minus": "medium", "times": "hard"}[operation]
        answer = {"plus": a + b, "minus": a - b, "times": a * b}[operation]
        wrong = f"The answer is {answer + int(rng.integers(1, 90))}."
        instruction, response = f"What is {a} {operation} {b}?", f"The answer is {answer}."
    elif task == "rewrite":
        given = f"the {words[0]} and the {words[1]} are {a} steps from the {words[2]}"
        difficulty = "easy"
        instruction, response = "Rewrite the sentence in capital letters.", given.upper()
        wrong = given
    elif task == "sort":
        given = ", ".join(words)
        difficulty = "medium" if len(words) < 5 else "hard"
        instruction, response = f"Sort these {len(words)} words by the alphabet.", ", ".join(sorted(words))
        wrong = ", ".join(sorted(words, reverse=True))
    else:
        left, right = _OPPOSITES[int(rng.integers(len(_OPPOSITES)))]
        difficulty = "easy"
        instruction = f"Give the opposite of {left} and use it in a sentence about a {words[0]}."
        response, wrong = f"{right}: The {words[0]} was {right} {a} days ago.", f"{left}: The {words[0]}."
    corrupted = bool(rng.random() < 0.1)
    response = wrong if corrupted else response
    if hostile and row < len(HOSTILE):
        instruction, response = HOSTILE[row]
        task, difficulty, corrupted, given = "<i>hostile</i>", "hard", False, ""
    prompt = f"{instruction}\n{given}\n" if given else f"{instruction}\n"
    prompt_tokens = _tokens(prompt)
    tokens = [*prompt_tokens, *_tokens(response), "<end>"]
    length = min(len(tokens) - 1, MAX_LENGTH)
    return _Sample(
        row=row,
        instruction=instruction,
        input=given,
        response=response,
        task=task,
        difficulty=difficulty,
        corrupted=corrupted,
        tokens=tokens[:length],
        labels=tokens[1 : length + 1],
        response_start=len(prompt_tokens) - 1,
        truncated=len(tokens) - 1 > MAX_LENGTH,
    )


def _tokens(text: str) -> list[str]:
    """Pieces that join to the text again: short words whole, longer ones in pieces, marks by themselves."""
    pieces = re.findall(rf" ?[{string.ascii_letters}]{{1,6}}| ?\d{{1,2}}|\s|.", text, re.DOTALL)
    assert "".join(pieces) == text
    return pieces


def _spans(count: int) -> list[tuple[int, int]]:
    return [(start, min(start + PART_ROWS, count)) for start in range(0, count, PART_ROWS)]
