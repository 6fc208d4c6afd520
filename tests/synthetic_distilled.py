"""A made-up run of dataset distillation in a workspace, for every test and picture that needs one to look at.

Nothing was learned: tokens drift from a sample's own to others, accuracies come from a formula with a seeded wobble in
which vectors are worth much, the words they are read as little, and larger sets more. The same arguments always give
the same parts.
"""

from __future__ import annotations

import io
import math
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import save_file

from engine.ledger import Ledger
from engine.recipes import digest, parse_recipe, to_dict
from engine.settings import scratch_name
from engine.synthetic import MAIN, MERGED, METHODS, OTHER, PROMPTS, REPLAYS, DistillationRecipe, SetKey
from engine.tables import Part, write_part
from engine.workspace import Workspace, write_atomically
from tests.synthetic import HOSTILE

CLASSES = {MAIN: ("negative", "positive"), OTHER: ("sports", "science")}
HOSTILE_CLASSES = tuple(text for pair in HOSTILE[:5] for text in pair)
DIGITS = tuple(str(digit) for digit in range(10))
REAL = ("random", "k_center", "herding")
HEADS, DRAWS = 10, 6
NEAR = 3  # nearest samples kept with each chosen input
FULL_STEPS, STEP_SECONDS, STEP_OPERATIONS = 240, 0.05, 2.5e9

_OPENINGS = ("the film", "this comedy", "her second picture", "a slow drama", "the whole cast", "that long sequel")
_VERDICTS = {
    "negative": ("is dull and tired", "wastes every good idea", "never finds its pace", "falls flat at the end"),
    "positive": (
        "is warm and clever",
        "holds every quiet scene",
        "keeps its light touch",
        "moves without a false note",
    ),
}
_ENDINGS = ("from start to finish", "for two whole hours", "in almost each scene", "and says so plainly")
_DRIFTS = {
    "negative": ("awful", "##less", "lifeless", "bland", "worst", "hollow", "drab", "##ish", "mess", "stale"),
    "positive": ("delightful", "##ful", "superb", "tender", "best", "vivid", "joy", "##ly", "gem", "fresh"),
}
_COMMON = ("of", "the", "a", "##s", ",", "and", "[unused1]", "very", "to", "it")


def distillation_recipe(
    *,
    name: str = "synthetic-distillation",
    task: str = "text",
    source: str = "made-up",
    per_class: Sequence[int] = (1, 2, 5),
    inner_steps: Sequence[int] = (5, 1, 10),
    seeds: Sequence[int] = (0,),
    students: Sequence[str] | None = None,
    transfer: Sequence[str] = (),
    other: bool = False,
    prompting: bool = False,
    labels: str = "unrestricted",
    optimizer: str = "sgd",
    attention_labels: bool = False,
    start: str = "samples",
    snapshots: int = 6,
) -> DistillationRecipe:
    """Shaped as a real one; students and other encoders are named by their models, which may be `scratch:NAME`."""
    made = [its for model in [*(students or ()), *transfer] if (its := scratch_name(model))]
    recipe = parse_recipe(
        {
            "kind": "distillation",
            "name": name,
            "seeds": list(seeds),
            "data": {"source": source, "task": task},
            "other": {"source": f"{source}-other", "task": task} if other else None,
            "students": [{"model": model} for model in students or [_student(task)]],
            "scratch": {its: {"layers": 2, "width": 16, "heads": 2} for its in made},
            "synthetic": {
                "per_class": list(per_class),
                "length": 12,
                "labels": labels,
                "attention_labels": attention_labels,
                "start": start,
            },
            "inner": {"steps": list(inner_steps), "optimizer": optimizer},
            "outer": {"steps": 500, "snapshots": snapshots},
            "worth": {"heads": HEADS, "transfer": [{"model": model} for model in transfer]},
            "prompting": {"model": "Qwen/Qwen2.5-0.5B", "draws": DRAWS} if prompting else None,
        }
    )
    assert isinstance(recipe, DistillationRecipe)
    return recipe


def _student(task: str) -> str:
    return "mlp" if task == "images" else "prajjwal1/bert-tiny"


def fill_distilled_workspace(
    workspace: Workspace,
    recipe: DistillationRecipe | None = None,
    *,
    state: str = "done",
    sets: int | None = None,
    measured: int | None = None,
    samples: int = 120,
    hostile: bool = False,
    unchanged: Collection[int] = (),
    width: int = 16,
) -> str:
    """Submit a distillation and write everything it would have left behind; return its id.

    "queued" leaves no parts. In any state but "done" the first `sets` of `recipe.sets()` are finished (two thirds, if
    not said), the next one has half of its snapshots and none chosen, and all finished ones but the last are measured;
    with `measured` so many are, also of a run that is done. What needs every set (merging, replaying, prompting) is
    there once all are measured. `unchanged` names inputs whose texts stay what they started as. With `hostile`,
    classes, texts and tokens try to escape from the page. `width`: numbers in a vector.
    """
    recipe = recipe or distillation_recipe()
    ledger = Ledger(workspace)
    run = ledger.submit(recipe)
    if state == "queued":
        return run
    claimed = ledger.claim(run)
    assert claimed is not None
    keys = recipe.sets()
    if sets is None:
        sets = len(keys) if state == "done" else max(1, 2 * len(keys) // 3)
    if measured is None:
        measured = len(keys) if state == "done" else max(0, sets - 1)
    writer = _Writer(workspace, run, recipe, samples, hostile, frozenset(unchanged), width)
    ledger.record_parts([writer.samples()])
    for key in keys[:sets]:
        ledger.record_parts(writer.distilled(key, finished=True))
    if sets < len(keys):
        ledger.record_parts(writer.distilled(keys[sets], finished=False))
    if measured:
        ledger.record_parts(writer.worth(keys[:measured], every=measured == len(keys)))
    ledger.set_provenance(run, **writer.provenance(keys[:sets]))
    if state == "running":
        ledger.progress(run, f"set {sets + 1} of {len(keys)}", sets / len(keys), 40.0)
    else:
        ledger.finish(run, state, "" if state != "failed" else "The disk is full; free some space and resume.")
    claimed[1].release()
    return run


def accuracy_of(key: SetKey, method: str, trained: str, head: int, split: str) -> float:
    """The made-up share of right answers after training on one set, or on what it is compared with."""
    if method == "prompt_none":  # there is nothing to draw
        head = 0
    if method in REAL:  # sets of one size share them
        key = key._replace(inner_steps=0, seed=0)
    base = {
        "full": 0.905,
        "embeddings": 0.80, "text_labels": 0.63, "text": 0.60, "random": 0.58, "k_center": 0.61, "herding": 0.64,
        "merged_embeddings": 0.77, "merged_text": 0.58, "merged_random": 0.57,
        "replay_none": 0.55, "replay_embeddings": 0.76, "replay_text": 0.66, "replay_random": 0.68,
        "prompt_none": 0.52, "prompt_text": 0.60, "prompt_random": 0.66,
    }[method]  # fmt: skip
    if method != "full":
        base += (0.012 if "embeddings" in method else 0.035) * math.log2(max(1, key.per_class))
    if method == "embeddings":
        base += {1: -0.02, 10: 0.01}.get(key.inner_steps, 0.0)
    base -= 0.04 * (key.task == OTHER) + 0.03 * (trained != key.student and not method.startswith("prompt"))
    spread = {"full": 0.003, "embeddings": 0.008, "merged_embeddings": 0.01}.get(method, 0.022)
    wobble = np.random.default_rng(int(digest([*key, method, trained, head]), 16))
    found = base + wobble.normal(0, spread) + (0.006 if split == "valid" else 0.0)
    return float(np.clip(found, 0, 1))


class _Writer:
    def __init__(
        self,
        workspace: Workspace,
        run: str,
        recipe: DistillationRecipe,
        samples: int,
        hostile: bool,
        unchanged: frozenset[int],
        width: int,
    ) -> None:
        self.workspace, self.run, self.recipe, self.hostile = workspace, run, recipe, hostile
        self.unchanged, self.width = unchanged, width
        self.pictures = recipe.data.task == "images"
        main = DIGITS if self.pictures else CLASSES[MAIN]
        self.classes = {MAIN: HOSTILE_CLASSES[: len(main)] if hostile else main, OTHER: CLASSES[OTHER]}
        self.labels = np.random.default_rng(samples).integers(0, len(main), samples)
        self.splits = [
            "train" if row < 0.7 * samples else "valid" if row < 0.8 * samples else "test" for row in range(samples)
        ]
        self.texts = [self.text(row, int(label)) for row, label in enumerate(self.labels)]
        steps = np.linspace(0, recipe.outer.steps, recipe.outer.snapshots + 1).round().astype(int)
        self.steps = sorted({int(step) for step in steps})
        self.chosen = self.steps[max(0, len(self.steps) - 2)]  # the last one has learned its batches by heart

    def part(self, table: str, name: str, rows: Any) -> Part:
        return write_part(self.workspace, self.run, table, name, rows)

    def text(self, row: int, label: int) -> str:
        """About as long as an input, in words of the made-up vocabulary."""
        if self.pictures:
            return ""
        if self.hostile and row % 5 == 0:
            return HOSTILE[row // 5 % len(HOSTILE)][0]
        rng = np.random.default_rng([row, 3])
        return " ".join(str(rng.choice(words)) for words in (_OPENINGS, _VERDICTS[CLASSES[MAIN][label]], _ENDINGS))

    def samples(self) -> Part:
        rows = [
            {
                "dataset": self.dataset(MAIN),
                "row": row,
                "content_id": digest([row, int(label), self.texts[row]]),
                "split": self.splits[row],
                "instruction": self.texts[row],
                "input": "",
                "response": "",
                "fields": {},
                "length": len(self.texts[row].split()),
                "response_length": 0,
                "truncated": False,
                "image": _png(_picture(row, int(label), 1.0)) if self.pictures else None,
                "label": self.classes[MAIN][label],
            }
            for row, label in enumerate(self.labels)
        ]
        return self.part("samples", "all", rows)

    def dataset(self, task: str) -> str:
        return digest(["distillation", task, len(self.labels), self.hostile, self.pictures])

    def distilled(self, key: SetKey, finished: bool) -> list[Part]:
        """Snapshots, their tokens and their curves; of a set that is not finished the first half, and none chosen."""
        steps = self.steps if finished else self.steps[: max(1, len(self.steps) // 2)]
        parts = [part for step in steps for part in self.snapshot(key, step, f"{key.name}-{step:06d}")]
        parts += [self.part("metrics", f"{key.name}-{step:06d}", list(self.curves(key, step))) for step in steps]
        if finished:  # the best one is recorded once more, as it is only known in the end
            self.write_output(key)
            parts += self.snapshot(key, self.chosen, f"{key.name}-chosen", chosen=True)
        return parts

    def snapshot(self, key: SetKey, step: int, name: str, chosen: bool = False) -> list[Part]:
        parts = [self.part("distilled", name, list(self.inputs(key, step, chosen)))]
        if not self.pictures:
            parts.append(self.part("distilled_tokens", name, list(self.tokens(key, step))))
        return parts

    def inputs(self, key: SetKey, step: int, chosen: bool) -> Iterator[dict[str, Any]]:
        classes = self.classes[key.task]
        for place, label in enumerate(self.label_of(key)):
            at = key._asdict() | {"step": step, "chosen": chosen, "input": place, "label": classes[label]}
            near = np.flatnonzero((self.labels == label) & (np.array(self.splits) == "train"))
            near = near[place % key.per_class :][:NEAR]
            if not chosen or key.task == OTHER:  # the samples of the other task are not among those of the run
                near = near[:0]
            learned = {
                "labels": self.learned_label(key, place, int(label), step).tolist(),
                "near_rows": near.tolist(),
                "near_values": np.linspace(0.82, 0.71, NEAR)[: len(near)].tolist(),
            }
            if self.pictures:
                image = _png(_picture(place, int(label), 1 - 0.6 * self.progress(step)))
                yield at | learned | {"text": None, "changed": 0, "length": 0, "image": image}
                continue
            read = [token for token, *_ in self.read(key, place, step)]
            start = [token for token, *_ in self.read(key, place, 0)]
            changed = sum(now != before for now, before in zip(read, start, strict=True))
            text = " ".join(read).replace(" ##", "")
            yield at | learned | {"text": text, "changed": changed, "length": len(read), "image": None}

    def label_of(self, key: SetKey) -> NDArray[np.int64]:
        """The class of each input of a set: all of the first class, then of the second, …"""
        return np.repeat(np.arange(len(self.classes[key.task])), key.per_class)

    def progress(self, step: int) -> float:
        return step / self.recipe.outer.steps

    def learned_label(self, key: SetKey, place: int, label: int, step: int) -> NDArray[np.float32]:
        """(C,) sharper than one class each where labels are free, and leaning to a neighbour."""
        scores = np.zeros(len(self.classes[key.task]), np.float32)
        scores[label] = 1.0
        if self.recipe.synthetic.labels == "hard":
            return scores
        rng = np.random.default_rng([place, key.per_class, key.inner_steps, 5])
        scores += (self.progress(step) * (rng.normal(0, 0.4, len(scores)) - 0.6 + 1.8 * scores)).astype(np.float32)
        if self.recipe.synthetic.labels == "soft":
            powers = np.exp(3 * scores)
            return powers / powers.sum()
        return scores

    def started(self, key: SetKey, place: int) -> list[str]:
        """The tokens an input began as: those of a sample of its class, repeated to the length of all inputs."""
        length, label = self.recipe.synthetic.length, self.label_of(key)[place]
        rng = np.random.default_rng([place, key.per_class, key.task == OTHER, 1])
        if self.recipe.synthetic.start == "noise":
            return [str(token) for token in rng.choice(_COMMON, length)]
        mine = [text for text, its in zip(self.texts, self.labels, strict=True) if its == label]
        words = mine[place % len(mine)].split()
        return (words * (1 + length // len(words)))[:length]

    def read(self, key: SetKey, place: int, step: int) -> Iterator[tuple[str, list[str], list[float]]]:
        """What each vector reads as at a step: its token, the five nearest, and how near; a vector drifts once."""
        label = self.label_of(key)[place]
        drifts = HOSTILE_TOKENS if self.hostile else _DRIFTS[CLASSES[MAIN][label]]
        for position, start in enumerate(self.started(key, place)):
            rng = np.random.default_rng([place, position, key.per_class, key.inner_steps, key.seed])
            leaves, goal = rng.uniform(0.1, 1.6), str(rng.choice(drifts))
            others = [str(token) for token in rng.permutation(_COMMON) if token not in (start, goal)]
            away = place not in self.unchanged and leaves < self.progress(step) and goal != start
            tokens = [goal, start, *others][:5] if away else [start, *others][:5]
            near = 0.9 - 0.5 * self.progress(step) * rng.uniform(0.4, 1) if step else 1.0
            yield tokens[0], tokens, [float(near * 0.9**rank) for rank in range(5)]

    def tokens(self, key: SetKey, step: int) -> Iterator[dict[str, Any]]:
        for place in range(len(self.label_of(key))):
            for position, (start, (_, nearest, near)) in enumerate(
                zip(self.started(key, place), self.read(key, place, step), strict=True)
            ):
                at = key._asdict() | {"step": step, "input": place, "position": position}
                yield at | {"start": start, "nearest": nearest, "similarity": near}

    def curves(self, key: SetKey, step: int) -> Iterator[dict[str, Any]]:
        done = self.progress(step)
        at = {"arm": key.name, "seed": key.seed, "epoch": 0, "step": step}
        rng = np.random.default_rng([step, key.per_class, key.inner_steps, key.seed, 9])
        best = accuracy_of(key, "embeddings", key.student, 0, "valid")
        valid = best if step == self.chosen else 0.5 + (best - 0.52) * math.sqrt(done) + rng.normal(0, 0.003)
        yield at | {"split": "valid", "name": "accuracy", "value": float(min(valid, best))}
        yield at | {"split": "", "name": "seconds_distilling", "value": 0.12 * step * math.sqrt(key.inner_steps)}
        if step:
            loss = 0.3 + 0.5 * math.exp(-3 * done) + rng.normal(0, 0.01)
            yield at | {"split": "train", "name": "outer_loss", "value": loss}
        for inner in range(1, key.inner_steps + 1):
            rate = self.recipe.inner.learning_rate * (1 + done * (0.8 - 0.12 * inner))
            yield at | {"epoch": inner, "split": "", "name": "inner_rate", "value": max(rate, 1e-4)}

    def write_output(self, key: SetKey) -> None:
        """The learned tensors of the chosen snapshot, as one trains on them."""
        count, rng = len(self.label_of(key)), np.random.default_rng([key.per_class, key.inner_steps, 4])
        shape = (count, 1, 8, 8) if self.pictures else (count, self.recipe.synthetic.length + 2, self.width)
        tensors: dict[str, NDArray[np.float32]] = {
            "inputs": rng.normal(0, 0.5, shape).astype(np.float32),
            "labels": np.stack(
                [self.learned_label(key, at, int(its), self.chosen) for at, its in enumerate(self.label_of(key))]
            ).astype(np.float32),
            "rates": np.full(key.inner_steps, self.recipe.inner.learning_rate, np.float32),
        }
        if self.recipe.synthetic.attention_labels:
            attention = rng.random((count, 2, 2, shape[1])).astype(np.float32)
            tensors["attention"] = attention / attention.sum(-1, keepdims=True)
        write_atomically(
            self.workspace.outputs / f"{self.output(key)}.safetensors", lambda file: save_file(tensors, file)
        )

    def output(self, key: SetKey) -> str:
        return digest([self.run, *key])

    def worth(self, keys: Sequence[SetKey], every: bool) -> list[Part]:
        """What the sets are worth; with `every` also what needs all of them."""
        methods = [method for method in METHODS if method != "full"]
        if self.pictures:
            methods = [method for method in methods if not method.startswith("text")]
        elif self.recipe.synthetic.labels == "hard":
            methods.remove("text_labels")
        first, transfer = keys[0], [network.model for network in self.recipe.worth.transfer]
        parts = []
        for task, student in sorted({(key.task, key.student) for key in keys}):
            whole = SetKey(task, student, 0, 0, -1)
            parts.append(self.part("worth", f"{whole.name}-full", list(self.heads(whole, "full", student))))
        for key in keys:
            rows = [row for method in methods for row in self.heads(key, method, key.student)]
            if key in self.recipe.sets()[: len(self.recipe.seeds)]:
                on = [(method, model) for method in ("text", "random") for model in transfer]
                rows += [row for method, model in on for row in self.heads(key, method, model)]
            parts.append(self.part("worth", key.name, rows))
        if every and self.recipe.other:
            other = next(key for key in keys if key.task == OTHER)
            rows = [row for key in (first, other) for method in MERGED for row in self.heads(key, method, key.student)]
            rows += [row for method in REPLAYS for row in self.heads(first, method, first.student)]
            parts.append(self.part("worth", "two-tasks", rows))
        if every and self.recipe.prompting:
            model, draws = self.recipe.prompting.model, self.recipe.prompting.draws
            rows = [row for method in PROMPTS for row in self.heads(first, method, model, draws)]
            parts.append(self.part("worth", "prompts", rows))
        return parts

    def heads(self, key: SetKey, method: str, trained: str, heads: int = HEADS) -> Iterator[dict[str, Any]]:
        prompt, own = method.startswith("prompt"), method == "embeddings"
        count = len(self.label_of(key))
        steps = FULL_STEPS if method == "full" else key.inner_steps if own else 0 if prompt else 40
        for head in range(heads):
            accuracy = accuracy_of(key, method, trained, head, "test")
            yield key._asdict() | {
                "method": method,
                "trained": trained,
                "head": head,
                "samples": self.splits.count("train") if method == "full" else 0 if method.endswith("none") else count,
                "learning_rate": math.nan if own or prompt else 5e-5 if method == "full" else 1e-4,
                "steps": steps,
                "valid": math.nan if prompt else accuracy_of(key, method, trained, head, "valid"),
                "accuracy": accuracy,
                "loss": 1.6 * (1 - accuracy),
                "seconds": STEP_SECONDS * steps,
                "operations": STEP_OPERATIONS * steps * (32 if method == "full" else max(1, count)),
            }

    def provenance(self, keys: Sequence[SetKey]) -> dict[str, Any]:
        return {
            "recipe": to_dict(self.recipe),
            "dataset": self.dataset(MAIN),
            "samples": {split: self.splits.count(split) for split in ("train", "valid", "test")},
            "class_names": list(self.classes[MAIN]),
            "measure": "accuracy",
            "dtype": "float32",
            "device": "cpu",
            "versions": {"winnow": "0.1.0"},
            "distilled": {key.name: {"output": self.output(key), "step": self.chosen} for key in keys},
        }


HOSTILE_TOKENS = tuple(word for pair in HOSTILE for text in pair for word in text.split()[:2])


def _picture(place: int, label: int, sharp: float) -> NDArray[np.uint8]:
    """Grey, 8 x 8, with a bright block whose place says the class; the less sharp, the more it blurs into the rest."""
    rng = np.random.default_rng([place, label])
    pixels = rng.integers(0, 70, (8, 8)).astype(np.float64)
    row, column = divmod(label, 4)
    pixels[2 * row : 2 * row + 3, 2 * column : 2 * column + 2] += 170
    return np.clip(sharp * pixels + (1 - sharp) * (pixels.mean() + rng.normal(0, 40, (8, 8))), 0, 255).astype(np.uint8)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
