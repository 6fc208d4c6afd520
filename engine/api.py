"""The public interface: score a set with two models, rank it, choose from it, and read what a run has found.

Frames in and out, for notebooks and scripts. Runs are done in this process, as `winnow run` does them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.analysis.pruning_results import open_results
from engine.common.errors import WinnowError
from engine.config.data import ColumnMap
from engine.config.kinds import Recipe
from engine.config.load import load_recipe
from engine.config.models import exit_layer
from engine.config.pruning import ScoringSettings
from engine.config.rankings import METRICS
from engine.data.columns import find_columns
from engine.data.loading import load_records
from engine.data.records import Records
from engine.data.samples import NO_TOKENS, encode_rows
from engine.data.sources import Rows, to_rows
from engine.data.templates import resolve_template
from engine.data.tokenizers import shared_tokenizer, vocabulary_size
from engine.export.tables import run_table
from engine.models.loading import load_model, load_student, load_tokenizer, resolve_device, resolve_dtype
from engine.models.positions import shortest
from engine.pruning.select import select
from engine.runtime.worker import execute
from engine.scoring.kl import token_scores
from engine.scoring.lm_head import LmHead
from engine.scoring.score import score_samples
from engine.storage.ledger import Ledger, Run
from engine.storage.workspace import Workspace, open_workspace


def score(
    data: str | pd.DataFrame | Sequence[Mapping[str, Any]],
    teacher: str,
    student: str,
    *,
    columns: Mapping[str, str] | None = None,
    template: str = "auto",
    limit: int | None = None,
    max_length: int = 512,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Every sample of an instruction set with its scores: KL(teacher || student) and the metrics of the same pass.

    `data` is a file, a Hub id, a saved `datasets` folder, `demo`, a frame, or rows as mappings; `columns` maps
    instruction, input, response and system to its columns if their names are unusual; a column of conversations is
    found by its shape. `template` is auto, chat, alpaca or plain, as in a recipe. `teacher` and `student` are Hub ids
    or folders that share a tokenizer; the student may be `exit:LAYER`, the teacher cut short. `progress(tokens done,
    tokens in all)` is called after every batch.

    Returns one row for each sample that has a response, in the order of the data: row, instruction, input, response,
    length (tokens), and one column for each of METRICS: nats per token or shares, high = keep, NaN if a model gave NaN.
    Raises WinnowError if the data or a model cannot be used, or the tokenizers differ.
    """
    rows = _rows(data, columns, limit)
    where = resolve_device(device)
    reads = load_tokenizer(student if exit_layer(student) is None else teacher)
    tokenizer = shared_tokenizer(load_tokenizer(teacher), reads, (teacher, student))
    dtype = resolve_dtype("auto", where)
    loaded = [load_model(teacher, teacher, dtype, where)]
    loaded.append(load_student(student, student, dtype, where, lambda: loaded[0]))
    max_length = shortest(max_length, *(model.context for model in loaded))
    form = resolve_template(template, rows.conversations, tokenizer)
    encoded = zip(rows.rows, encode_rows(rows.rows, form, tokenizer, max_length), strict=True)
    kept = [(row, sample) for row, sample in encoded if not isinstance(sample, str) and sample.response_length]
    if not kept:
        raise WinnowError(
            f"No row of the data can be scored ({NO_TOKENS} within {max_length} tokens); raise max_length."
        )
    settings = ScoringSettings()
    found = score_samples(
        loaded[0].model,
        loaded[1].model,
        [sample for _, sample in kept],
        vocab_size=vocabulary_size(tokenizer),
        token_budget=settings.token_budget,
        tile=settings.tile,
        tick=progress,
    )
    texts = [{name: row[name] for name in ("row", "instruction", "input", "response")} for row, _ in kept]
    lengths = [{"length": sample.length} for _, sample in kept]
    return pd.DataFrame(
        [text | length | each.metrics() for text, length, each in zip(texts, lengths, found, strict=True)]
    )


def rank(scores: pd.DataFrame, metric: str = "kl") -> pd.DataFrame:
    """The samples from the highest score to the lowest, NaN last, with their `rank` from 1."""
    _require_metric(scores, metric)
    ranked = scores.sort_values(metric, ascending=False, kind="stable", na_position="last")
    return ranked.assign(rank=np.arange(1, len(ranked) + 1))


def choose(
    scores: pd.DataFrame, metric: str = "kl", *, tau: float | None = None, fraction: float | None = None
) -> pd.Series:
    """Which samples are kept, as booleans with the index of `scores`: those above `tau`, or the highest `fraction`.

    Exactly one of both is given. Raises WinnowError if not, or if the metric is not a column.
    """
    _require_metric(scores, metric)
    if (tau is None) == (fraction is None):
        raise WinnowError("choose needs either tau or fraction, one of the two.")
    values = scores[metric].to_numpy(dtype=np.float64)
    kept: NDArray[np.bool_] = values > tau if tau is not None else select(values, float(fraction or 0.0))
    return pd.Series(kept, index=scores.index, name="kept")


def token_kl(
    teacher_hidden: Tensor, student_hidden: Tensor, teacher_weight: Tensor, student_weight: Tensor, tile: int = 1024
) -> Tensor:
    """KL(teacher || student) in nats at each of T positions, from final hidden states and the weights of both LM heads.

    `teacher_hidden` (T, d_t), `student_hidden` (T, d_s), weights (V, d_t) and (V, d_s): exact over the vocabulary, one
    tile of it at a time, so that no (T, V) tensor is made. Returns (T,) float64.
    """
    unused = torch.zeros(len(teacher_hidden), dtype=torch.long, device=teacher_hidden.device)
    heads = LmHead(teacher_weight), LmHead(student_weight)
    with torch.inference_mode():
        found = token_scores(teacher_hidden, student_hidden, *heads, unused, vocab_size=len(teacher_weight), tile=tile)
    return found.kl


class RunResults:
    """What a run has found, as frames. `run` is its entry in the ledger: state, recipe, provenance."""

    def __init__(self, workspace: Workspace, ledger: Ledger, run: Run) -> None:
        self.workspace, self.ledger, self.run = workspace, ledger, run

    @property
    def recipe(self) -> Recipe:
        return self.run.parsed()

    def table(self, name: str) -> pd.DataFrame:
        """Every row of one of the run's tables: samples, scores, selections, metrics, grid, distilled, evaluation, …"""
        return run_table(self.workspace, self.ledger.parts(self.run.id, name), name).to_pandas()

    def verdict(self) -> pd.DataFrame:
        """Which arms of dynamic pruning beat random choice: arm, rival, multiplier, low, high, net, settled, …

        Raises WinnowError if the run has no arms, or none of their epochs has been trained.
        """
        return open_results(self.workspace, self.ledger, self.run).verdicts

    def scores(self, arm: str = "base", seed: int = -1, epoch: int = 1) -> pd.DataFrame:
        """The samples with one column for each metric, as one arm and seed scored them; by default before training."""
        long = self.table("scores")
        mine = long[(long["arm"] == arm) & (long["seed"] == seed) & (long["epoch"] == epoch)]
        wide = mine.pivot(index="row", columns="metric", values="value").reset_index()
        return self.table("samples").merge(wide, on="row").rename_axis(columns=None)


def read_run(run: str, workspace: Workspace | str | None = None) -> RunResults:
    """The results of a run by its id, or by the beginning of its id. Raises WinnowError if there is no such run."""
    opened = workspace if isinstance(workspace, Workspace) else open_workspace(workspace)
    ledger = Ledger(opened)
    return RunResults(opened, ledger, ledger.run(run))


def run_recipe(
    recipe: Recipe | str,
    settings: Sequence[str] = (),
    *,
    workspace: Workspace | str | None = None,
    device: str = "auto",
) -> RunResults:
    """Do a run in this process and return its results. `recipe` is a file, a ready-made name, or a parsed recipe.

    `settings` are `key.path=value`, as `--set` takes them. Raises WinnowError with the sentence of a run that fails.
    """
    loaded = load_recipe(recipe, list(settings)) if isinstance(recipe, str) else recipe
    opened = workspace if isinstance(workspace, Workspace) else open_workspace(workspace)
    ledger = Ledger(opened)
    run, lock = ledger.start(loaded)
    execute(opened, ledger, run, lock, device=device)
    results = read_run(run.id, opened)
    if results.run.error:
        raise WinnowError(results.run.error)
    return results


def _rows(
    data: str | pd.DataFrame | Sequence[Mapping[str, Any]], columns: Mapping[str, str] | None, limit: int | None
) -> Rows:
    if isinstance(data, str):
        records = load_records(data, limit=limit)
    else:
        given = data.to_dict("records") if isinstance(data, pd.DataFrame) else data
        listed = [{str(name): value for name, value in row.items()} for row in given]
        names = list(dict.fromkeys(name for row in listed for name in row))
        records = Records("the given rows", names, listed[:limit], 0, len(listed))
    return to_rows(records, find_columns(records, ColumnMap(**(columns or {}))))


def _require_metric(scores: pd.DataFrame, metric: str) -> None:
    if metric not in scores:
        raise WinnowError(
            f"The scores have no column {metric}; they have {', '.join(m for m in METRICS if m in scores)}."
        )
