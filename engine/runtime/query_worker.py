"""The warm worker that answers small questions while runs are worked on elsewhere.

"check"    can this recipe run here, how large is it, how long may it take
"preview"  what does this data look like
"trace"    where do teacher and student part on this prompt and response
"""

from __future__ import annotations

import logging
import time
from typing import Any

import numpy as np
import psutil
import torch

from engine.common.errors import WinnowError
from engine.config.data import DataSettings
from engine.config.kinds import Recipe
from engine.config.load import parse_recipe
from engine.config.models import scratch_name
from engine.config.pruning import DynamicPruningRecipe, ScoreRecipe
from engine.data.preview import preview
from engine.data.samples import encode
from engine.data.sources import read_rows
from engine.data.templates import render
from engine.data.tokenizers import same_tokenizer
from engine.models.checkpoint import load_checkpoint
from engine.models.loading import load_model, load_tokenizer, model_facts_of, resolve_device, resolve_dtype
from engine.models.lora import attach_lora, detach_lora, load_adapter
from engine.scoring.score import score_samples
from engine.storage.ledger import Ledger, Run
from engine.storage.workspace import Workspace
from engine.studies import flops
from engine.studies.pruning.scoring import TOP_TOKENS, TokenText, token_row

log = logging.getLogger(__name__)

IDLE_SECONDS = 0.05


def answer_all(workspace: Workspace) -> None:
    """Answer questions, oldest first, until this process is ended."""
    ledger = Ledger(workspace)
    kinds = {"check": check, "preview": look, "trace": trace}
    while True:
        ask = ledger.next_request()
        if ask is None:
            time.sleep(IDLE_SECONDS)
            continue
        try:
            ledger.answer(ask.id, kinds[ask.kind](workspace, ledger, ask.payload))
        except WinnowError as error:
            ledger.answer(ask.id, {"error": str(error)}, refused=True)
        except Exception as error:
            # One question that goes wrong must not leave the others unanswered.
            log.exception("question %d failed", ask.id)
            ledger.answer(ask.id, {"error": f"The engine could not answer ({type(error).__name__}: {error})."}, True)


def look(_workspace: Workspace, _ledger: Ledger, payload: dict[str, Any]) -> dict[str, Any]:
    """{"data": DataSettings, "model": model whose tokenizer counts, or ""} -> engine.data.preview.preview."""
    tokenizer = load_tokenizer(payload["model"]) if payload.get("model") else None
    return preview(DataSettings.model_validate(payload["data"]), tokenizer)


def check(_workspace: Workspace, ledger: Ledger, payload: dict[str, Any]) -> dict[str, Any]:
    """{"recipe": raw tables} -> whether it can run here and what it takes. Reads the data and both tokenizers."""
    recipe = parse_recipe(payload["recipe"])
    if not isinstance(recipe, DynamicPruningRecipe | ScoreRecipe):
        return {"ok": True, "problems": [], "notes": []}
    pair = recipe.models
    problems: list[str] = []
    notes: list[str] = []
    facts = {role: _model(recipe, getattr(pair, role), problems) for role in ("teacher", "student")}
    if pair.teacher == pair.student:
        problems.append("Teacher and student are the same model, so every KL would be zero; choose another teacher.")
    samples, characters = 0, 0
    try:
        rows = read_rows(
            recipe.data.source, recipe.data.split, recipe.data.skip, recipe.data.limit, recipe.data.columns
        )
        samples = len(rows.rows)
        texts = [render(recipe.data.template, row["instruction"], row["input"]) for row in rows.rows]
        responses = [row["response"] for row in rows.rows]
        characters = sum(map(len, texts)) + sum(map(len, responses))
        notes += [f"{count:,} rows are left out: {why}." for why, count in rows.dropped.items()]
    except WinnowError as error:
        problems.append(str(error))
        texts, responses = [], []
    tokenizers = [] if problems else [load_tokenizer(m) for m in (pair.teacher, pair.student) if not scratch_name(m)]
    difference = same_tokenizer(*tokenizers) if len(tokenizers) == 2 else None
    if difference:
        problems.append(f"Teacher and student do not share a tokenizer. {difference}")
    if len(tokenizers) == 1:
        problems.append("A scratch: model has a tokenizer of its own; use scratch: models for both or for neither.")
    if tokenizers and texts:
        lengths = [len(e.input_ids) for e in encode(texts, responses, tokenizers[0], None)]
        tokens = sum(min(length, pair.max_length) for length in lengths)
        longer = sum(length > pair.max_length for length in lengths)
        if longer:
            notes.append(f"{longer:,} rows are longer than {pair.max_length:,} tokens and will be cut there.")
    else:
        tokens = characters // 3  # a small byte-level vocabulary reads about three characters a token
        notes.append("The number of tokens is an estimate: the tokenizer is made with the models.")
    device = resolve_device()
    bytes_each = resolve_dtype(pair.dtype, device).itemsize
    parameters = [fact["parameters"] or 0 for fact in facts.values()]
    memory = sum(parameters) * bytes_each + 4 * 2 * recipe.scoring.tile * 2048 + 48 * _activations(recipe, facts)
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    if memory > free:
        problems.append(
            f"The pair needs about {memory / 1e9:.1f} GB and {device} has {free / 1e9:.1f} GB free; "
            "choose smaller models or a lower batch size."
        )
    valid = round(tokens * recipe.data.valid_fraction)
    operations = flops.study(recipe, parameters[0], parameters[1], tokens - valid, valid)
    return {
        "ok": not problems,
        "problems": problems,
        "notes": notes,
        "samples": samples,
        "tokens": tokens,
        "memory_bytes": memory,
        "cache_bytes": int(tokens * (facts["teacher"]["width"] or 0) * bytes_each),
        "seconds": _seconds(ledger, operations),
        **facts,
    }


def _model(recipe: DynamicPruningRecipe | ScoreRecipe, model: str, problems: list[str]) -> dict[str, Any]:
    """Name, origin, parameters and width of a model, without loading its weights."""
    name = scratch_name(model)
    if name and recipe.scratch:
        settings = recipe.scratch.models[name]
        parameters = flops.parameters_of(settings, recipe.scratch.vocab_size)
        origin = "made by Winnow, trained first on the recipe's corpus"
        return {"name": model, "origin": origin, "parameters": parameters, "width": settings.width}
    try:
        return model_facts_of(model)
    except WinnowError as error:
        problems.append(str(error))
        return {"name": model, "origin": "cannot be found", "parameters": None, "width": None}


def _activations(recipe: Recipe, facts: dict[str, dict[str, Any]]) -> int:
    """Rough count of float values a training batch holds: tokens of a batch times the student's width."""
    if not isinstance(recipe, DynamicPruningRecipe):
        return 0
    return int(recipe.training.batch_size * recipe.models.max_length * (facts["student"]["width"] or 0))


def _seconds(ledger: Ledger, operations: float) -> float | None:
    """Seconds at the speed of the runs this workspace has finished; None where there is none to go by."""
    rates = [
        run.provenance["operations_per_second"]
        for run in ledger.runs(50)
        if run.state == "done" and run.provenance.get("operations_per_second")
    ]
    return operations / float(np.median(rates)) if rates else None


def trace(workspace: Workspace, ledger: Ledger, payload: dict[str, Any]) -> dict[str, Any]:
    """{"run", "student": "base" or "dynamic", "instruction", "input", "response"} -> token scores and metrics."""
    started = time.perf_counter()
    if not payload["response"].strip():
        raise WinnowError("The response is empty; write what the models should have answered.")
    run = ledger.run(payload["run"])
    recipe, known = run.parsed(), run.provenance
    if not isinstance(recipe, DynamicPruningRecipe | ScoreRecipe) or "teacher_hash" not in known:
        raise WinnowError(f"Run {run.id} has no pair of models yet; choose one that has scored its samples.")
    device = resolve_device()
    dtype = resolve_dtype(recipe.models.dtype, device)
    teacher = load_model(recipe.models.teacher, known["teacher_source"], dtype, device)
    student = load_model(recipe.models.student, known["student_source"], dtype, device)
    tokenizer = load_tokenizer(known["student_source"])
    prompt = render(recipe.data.template, payload["instruction"], payload["input"])
    [sample] = encode([prompt], [payload["response"]], tokenizer, recipe.models.max_length)
    if not sample.response_length:
        raise WinnowError(
            f"The prompt alone fills the {recipe.models.max_length:,} tokens these models read; shorten it."
        )
    adapter = _adapter(workspace, run, recipe) if payload["student"] == "dynamic" else None
    model: Any = student.model
    try:
        if adapter is not None and isinstance(recipe, DynamicPruningRecipe):
            model = attach_lora(student.model, recipe.training.lora, seed=0)
            load_adapter(model, load_checkpoint(adapter)[0])
        result = score_samples(
            teacher.model,
            model,
            [sample],
            vocab_size=len(tokenizer),
            token_budget=recipe.scoring.token_budget,
            tile=recipe.scoring.tile,
            top_k=TOP_TOKENS,
        )[0]
    finally:
        if model is not student.model:
            detach_lora(model)
    words = TokenText(tokenizer)
    return {
        **token_row(words, sample, result),
        "metrics": result.metrics(),
        "truncated": sample.truncated,
        "teacher": recipe.models.teacher,
        "student": recipe.models.student,
        "seconds": time.perf_counter() - started,
    }


def _adapter(workspace: Workspace, run: Run, recipe: Recipe) -> Any:
    """The last checkpoint of the first seed's dynamic arm."""
    assert isinstance(recipe, DynamicPruningRecipe)
    found = sorted((workspace.checkpoints / run.id).glob(f"dynamic-s{recipe.seeds[0]}-e*.safetensors"))
    if not found:
        raise WinnowError(f"Run {run.id} has not trained its student yet; choose the student before training.")
    return found[-1]
