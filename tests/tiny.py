"""The smallest real study: a few dozen rows, two models of a few thousand weights, every arm. Seconds on one core."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from engine.recipes import DynamicPruningRecipe, parse_recipe, set_value

STUDY = 80
_THINGS = ["river", "stone", "lamp", "garden", "wind", "bread", "paper", "glass", "summer", "button"]


def write_rows(path: Path, count: int = 480, seed: int = 0) -> Path:
    """Short questions with computed answers, as JSON lines.

    The first STUDY rows, which a study trains on, answer in another manner than the rest, which its models come
    from: there is something left to learn, and little training shows it.
    """
    rng = random.Random(seed)
    rows = []
    for _ in range(count):
        a, b = rng.randint(2, 60), rng.randint(2, 60)
        word = rng.choice(_THINGS)
        rows.append(
            rng.choice(
                [
                    {"instruction": f"What is {a} plus {b}?", "input": "", "output": str(a + b)},
                    {"instruction": "Write the word in capitals.", "input": word, "output": word.upper()},
                    {"instruction": f"Say {word} {a % 4 + 1} times.", "input": "", "output": f"{word} " * (a % 4 + 1)},
                ]
            )
        )
    for row in rows[:STUDY]:
        row["output"] = f"well, {row['output']}!"
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
    return path


def tiny_recipe(rows: Path, **changes: Any) -> DynamicPruningRecipe:
    """A study that `rows` is enough for; `a__b=value` sets a.b."""
    raw: dict[str, Any] = {
        "kind": "dynamic-pruning",
        "name": "tiny",
        "seeds": [0, 1],
        "data": {"source": str(rows), "template": "plain", "limit": STUDY},
        "models": {"teacher": "scratch:teacher", "student": "scratch:student", "max_length": 48},
        "scratch": {
            "vocab_size": 300,
            "corpus": {"skip": STUDY},
            "models": {
                "teacher": {"layers": 2, "width": 48, "heads": 2, "epochs": 4, "batch_size": 8, "learning_rate": 1e-2},
                "student": {"layers": 1, "width": 24, "heads": 2, "epochs": 2, "batch_size": 8, "learning_rate": 1e-2},
            },
        },
        "scoring": {"shard_rows": 16, "tile": 128},
        "pruning": {"tau_quantile": 0.2, "tau_growth": 0.05, "min_samples": 5},
        "training": {"epochs": 3, "batch_size": 8, "learning_rate": 1e-2},
    }
    for key, value in changes.items():
        set_value(raw, key.replace("__", "."), value)
    recipe = parse_recipe(raw)
    assert isinstance(recipe, DynamicPruningRecipe)
    return recipe
