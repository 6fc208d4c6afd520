"""Recipes: everything a run needs to know, typed and checked in this one place.

A recipe is one TOML file, or a form on a page, or `--set key=value` on the command line; all three end in the
same model and the same sentence when something is wrong. `load_recipe` reads, `parse_recipe` checks.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, TypeAdapter, ValidationError, model_validator

from engine import grids, synthetic
from engine.grids import PrunedKdRecipe
from engine.settings import ClusterSettings, Count, Name, Positive, ScratchModel, Settings, scratch_name
from engine.synthetic import DistillationRecipe
from engine.workspace import CHECKOUT, WinnowError

READY_MADE = CHECKOUT / "recipes"

METRICS = {
    "kl": "KL over all positions",
    "kl_response": "KL over the response",
    "reverse_kl": "reverse KL",
    "nll_teacher": "loss of the teacher on the response",
    "nll_student": "loss of the student on the response",
    "entropy_teacher": "entropy of the teacher",
    "disagreement": "share of positions where the top tokens differ",
}
"""Every metric a sample can be ranked by; each is stored so that high = keep."""

Metric = Literal["kl", "kl_response", "reverse_kl", "nll_teacher", "nll_student", "entropy_teacher", "disagreement"]
ArmName = Literal["dynamic", "full", "random", "static"]
ARMS: tuple[ArmName, ...] = ("dynamic", "full", "random", "static")


class RecipeError(WinnowError):
    """A recipe that cannot be run, and why."""


class ColumnMap(Settings):
    """Which column of the source holds what; an empty name means: find it by its usual names."""

    instruction: str = ""
    input: str = ""
    response: str = ""


class DataSettings(Settings):
    """Where samples come from: a Hub id, a Parquet, JSONL, JSON or CSV file, a saved `datasets` folder, or `demo`."""

    source: str
    split: str = "train"
    columns: ColumnMap = ColumnMap()
    template: Literal["alpaca", "plain"] = "alpaca"
    skip: Annotated[int, Field(ge=0)] = 0
    limit: Count | None = None
    valid_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    split_seed: int = 0


class CorpusSettings(Settings):
    """Text that models made from scratch are trained on first; an empty source means the source of the data."""

    source: str = ""
    split: str = "train"
    columns: ColumnMap = ColumnMap()
    skip: Annotated[int, Field(ge=0)] = 0
    limit: Count | None = None


class ScratchSettings(Settings):
    """How `scratch:NAME` models are made: one tokenizer for all of them, one entry in `models` for each name."""

    vocab_size: Annotated[int, Field(ge=300)] = 4096
    corpus: CorpusSettings = CorpusSettings()
    models: dict[Name, ScratchModel]


class PairSettings(Settings):
    """Teacher and student: Hub ids, local folders, or `scratch:NAME`."""

    teacher: str
    student: str
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    max_length: Annotated[int, Field(ge=8)] = 512


class ScoringSettings(Settings):
    token_budget: Annotated[int, Field(ge=64)] = 8192
    tile: Annotated[int, Field(ge=64)] = 1024
    hidden_cache_gb: Annotated[float, Field(ge=0)] = 4.0
    shard_rows: Count = 512


class PruningSettings(Settings):
    """The threshold and how it grows. `tau_growth` is the α of the method: tau ← min(tau · (1 + α), tau_max)."""

    metric: Metric = "kl"
    tau: Annotated[float, Field(ge=0)] | None = None
    tau_quantile: Annotated[float, Field(ge=0, lt=1)] | None = None
    tau_growth: Annotated[float, Field(ge=0)] = 0.1
    tau_max: Annotated[float, Field(ge=0)] | None = None
    tau_max_quantile: Annotated[float, Field(ge=0, lt=1)] | None = None
    min_samples: Count = 100

    @model_validator(mode="after")
    def _one_of_each(self) -> PruningSettings:
        if (self.tau is None) == (self.tau_quantile is None):
            raise ValueError("give either tau or tau_quantile, one of the two")
        if self.tau_max is not None and self.tau_max_quantile is not None:
            raise ValueError("give either tau_max or tau_max_quantile, not both")
        if self.tau is not None and self.tau_max is not None and self.tau_max < self.tau:
            raise ValueError(f"tau_max {self.tau_max} is below tau {self.tau}")
        if (
            self.tau_quantile is not None
            and self.tau_max_quantile is not None
            and self.tau_max_quantile < self.tau_quantile
        ):
            raise ValueError(f"tau_max_quantile {self.tau_max_quantile} is below tau_quantile {self.tau_quantile}")
        return self


class LoraSettings(Settings):
    r: Count = 8
    alpha: Count = 16
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1


class TrainingSettings(Settings):
    epochs: Count = 5
    batch_size: Count = 16
    learning_rate: Positive = 1e-4
    loss_on: Literal["response", "all"] = "response"
    lora: LoraSettings = LoraSettings()


class DynamicPruningRecipe(Settings):
    """Train the student's LoRA only on samples the teacher still disagrees about, beside three arms to compare with."""

    kind: Literal["dynamic-pruning"]
    name: Name = "dynamic-pruning"
    seeds: Annotated[list[int], Field(min_length=1)] = [0, 1, 2]
    arms: Annotated[list[ArmName], Field(min_length=1)] = list(ARMS)
    data: DataSettings
    models: PairSettings
    scratch: ScratchSettings | None = None
    scoring: ScoringSettings = ScoringSettings()
    pruning: PruningSettings
    training: TrainingSettings = TrainingSettings()
    cluster: ClusterSettings = ClusterSettings()

    @model_validator(mode="after")
    def _consistent(self) -> DynamicPruningRecipe:
        _check_scratch(self.models, self.scratch)
        if "dynamic" not in self.arms:
            raise ValueError('arms must contain "dynamic": the others are measured against it')
        for name, values in (("arms", self.arms), ("seeds", self.seeds)):
            if len(set(values)) != len(values):
                raise ValueError(f"{name} names something twice")
        return self


class ScoreRecipe(Settings):
    """Score every sample once; no training."""

    kind: Literal["score"]
    name: Name = "score"
    data: DataSettings
    models: PairSettings
    scratch: ScratchSettings | None = None
    scoring: ScoringSettings = ScoringSettings()
    cluster: ClusterSettings = ClusterSettings()

    @model_validator(mode="after")
    def _consistent(self) -> ScoreRecipe:
        _check_scratch(self.models, self.scratch)
        return self


class PretrainRecipe(Settings):
    """Make the `scratch:` models of a workspace and nothing else."""

    kind: Literal["pretrain"]
    name: Name = "pretrain"
    data: DataSettings
    scratch: ScratchSettings
    max_length: Annotated[int, Field(ge=8)] = 512


Recipe = DynamicPruningRecipe | ScoreRecipe | PretrainRecipe | PrunedKdRecipe | DistillationRecipe
_ADAPTER: TypeAdapter[Recipe] = TypeAdapter(Annotated[Recipe, Field(discriminator="kind")])
KINDS = ("score", "dynamic-pruning", "pretrain", "pruned-kd", "distillation")


def _check_scratch(pair: PairSettings, scratch: ScratchSettings | None) -> None:
    for role, model in (("teacher", pair.teacher), ("student", pair.student)):
        name = scratch_name(model)
        if name is not None and (scratch is None or name not in scratch.models):
            raise ValueError(
                f"models.{role} is {model}, but there is no [scratch.models.{name}] that says how to make it"
            )


def ready_made() -> list[str]:
    """Names of the recipes that come with Winnow."""
    return sorted(path.stem for path in READY_MADE.glob("*.toml"))


def load_recipe(name_or_path: str, overrides: list[str] | None = None) -> Recipe:
    """Read a TOML file or a ready-made recipe, apply `key.path=value` overrides, and check the result.

    Raises RecipeError with one sentence naming the file and the key.
    """
    raw = read_toml(name_or_path)
    for override in overrides or []:
        key, separator, value = override.partition("=")
        if not separator or not key.strip():
            raise RecipeError(f"--set {override}: write it as key.path=value, for example data.limit=2000.")
        set_value(raw, key.strip(), parse_value(value.strip()))
    return parse_recipe(raw, name_or_path)


def read_toml(name_or_path: str) -> dict[str, Any]:
    """The raw tables of a recipe file or of a ready-made recipe."""
    path = Path(name_or_path)
    if not path.is_file() and not path.suffix:
        path = READY_MADE / f"{name_or_path}.toml"
    if not path.is_file():
        close = difflib.get_close_matches(name_or_path, ready_made(), n=1)
        hint = f"did you mean {close[0]}?" if close else f"the ready-made ones are {', '.join(ready_made())}."
        raise RecipeError(f"There is no recipe file and no ready-made recipe called {name_or_path}; {hint}")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not valid TOML ({error}); mend that line and try again.") from error
    except OSError as error:
        raise RecipeError(f"{path} cannot be read ({error.strerror}).") from error


def set_value(raw: dict[str, Any], key: str, value: Any) -> None:
    """Set `a.b.c` in nested tables, making tables on the way."""
    *parents, last = key.split(".")
    table = raw
    for parent in parents:
        if parent == "cluster" and isinstance(table.get(parent), str):
            table[parent] = {"address": table[parent]}  # as a recipe may write it for short
        child = table.setdefault(parent, {})
        if not isinstance(child, dict):
            raise RecipeError(f"{key}: {parent} is a value, not a table, so nothing can be set inside it.")
        table = child
    table[last] = value


def parse_value(text: str) -> Any:
    """A TOML value if it reads as one (`3`, `0.5`, `true`, `[1, 2]`, `"x"`), else the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def parse_recipe(raw: dict[str, Any], where: str = "the recipe") -> Recipe:
    """Check raw tables. Raises RecipeError naming the first wrong key or value in `where`."""
    if raw.get("kind") not in KINDS:
        raise RecipeError(f"{where}: kind is {raw.get('kind')!r}; it must be one of {', '.join(KINDS)}.")
    try:
        return _ADAPTER.validate_python(raw)
    except ValidationError as error:
        raise RecipeError(f"{where}: {_sentence(error)}") from error


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    path = [str(part) for part in first["loc"] if part not in KINDS]
    key = ".".join(path)
    kind, context = first["type"], first.get("ctx", {})
    if kind == "extra_forbidden":
        # The key itself may be known elsewhere: it is no help to name it.
        close = difflib.get_close_matches(path[-1], _all_keys() - {path[-1]}, n=1, cutoff=0.6)
        return f"there is no key {key}" + (f"; did you mean {close[0]}?" if close else ".")
    if kind == "missing":
        return f"the key {key} is missing."
    if kind == "value_error":
        return f"{context['error']}." if not key else f"{key}: {context['error']}."
    if kind == "string_pattern_mismatch":
        key = key.removesuffix(".[key]")
        return (
            f"{key} is {first['input']!r}, but a name has at most 60 letters, digits, dots, dashes and underscores, "
            "and begins with a letter or a digit."
        )
    message = first["msg"][:1].lower() + first["msg"][1:]
    message = message.removeprefix("input ")
    return f"{key} is {first['input']!r}, but it {message}."


def _all_keys() -> set[str]:
    keys: set[str] = set()
    for model in [*vars(grids).values(), *vars(synthetic).values(), *globals().values()]:
        if isinstance(model, type) and issubclass(model, BaseModel):
            keys.update(model.model_fields)
    return keys


def to_dict(recipe: Recipe) -> dict[str, Any]:
    """The resolved recipe with every default written out, as plain JSON types."""
    return recipe.model_dump(mode="json")


def digest(value: Any) -> str:
    """Sixteen hex digits of the SHA-256 of a JSON value; the same for equal settings on every machine."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
