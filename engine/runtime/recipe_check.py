"""The request "check": whether a recipe on a pair of models can run on this machine, and what it takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import psutil
import torch
from transformers import PreTrainedTokenizerBase

from engine.common.errors import WinnowError
from engine.config.data import DataSettings
from engine.config.load import parse_recipe
from engine.config.models import PairSettings, exit_layer, scratch_name
from engine.config.pruning import DynamicPruningRecipe, PairRecipe
from engine.data.samples import readable
from engine.data.sources import Row, read_rows
from engine.data.templates import Template, pieces, resolve_template
from engine.data.tokenizers import shared_tokenizer
from engine.models.exits import OF_TEACHER, scratch_exit
from engine.models.loading import check_placement, load_tokenizer, model_facts_of, resolve_device, resolve_dtype
from engine.models.lora import check_lora
from engine.models.placement import FULL, Placement, placement_of
from engine.models.positions import shortest
from engine.storage.ledger import Ledger
from engine.storage.workspace import Workspace
from engine.studies import flops

CHARACTERS_PER_TOKEN = 3  # of a small byte-level vocabulary, roughly

Facts = dict[str, Any]  # of a model: name, origin, and numbers that are None if it cannot be found


def check_recipe(_workspace: Workspace, ledger: Ledger, payload: dict[str, Any]) -> dict[str, Any]:
    """{"recipe": raw tables} -> whether it can run here and what it takes. Reads the data and both tokenizers."""
    recipe = parse_recipe(payload["recipe"])
    if not isinstance(recipe, PairRecipe):
        return {"ok": True, "problems": [], "notes": []}
    pair, device = recipe.models, resolve_device()
    problems: list[str] = []
    notes: list[str] = []
    teacher: Facts = {"name": "", "origin": "cannot be found", "parameters": None, "width": None}
    student = teacher
    with _as_problem(problems):
        teacher = _model_facts(recipe, "teacher")
        check_placement(pair.teacher, placement_of(pair))
    with _as_problem(problems):
        student = _model_facts(recipe, "student")
        if isinstance(recipe, DynamicPruningRecipe) and scratch_name(pair.source("student")) is None:
            check_lora(pair.source("student"), recipe.training.lora, pair.student)
    max_length = shortest(pair.max_length, teacher.get("context"), student.get("context"))
    if pair.teacher == pair.student:
        problems.append("Teacher and student are the same model, so every KL would be zero; choose another teacher.")
    rows: list[Row] = []
    with _as_problem(problems):
        rows, notes = _read(recipe.data)
    conversations = any(row["turns"] for row in rows)
    tokenizer = None
    if not problems:
        with _as_problem(problems):
            tokenizer = _shared_tokenizer(pair)
    template = resolve_template(recipe.data.template, conversations, tokenizer)
    tokens, more = _count_tokens(rows, template, tokenizer, max_length)
    notes += more
    value_bytes = resolve_dtype(pair.dtype, device).itemsize
    memory, free = _memory(recipe, teacher, student, value_bytes, max_length), _free_memory(device, placement_of(pair))
    if memory > free:
        problems.append(
            f"The pair needs about {memory / 1e9:.1f} GB and {device} has {free / 1e9:.1f} GB free; "
            "choose smaller models or a lower batch size."
        )
    valid = round(tokens * recipe.data.valid_fraction)
    operations = flops.study(recipe, _size(recipe, teacher, student, tokenizer), tokens - valid, valid)
    return {
        "ok": not problems,
        "problems": problems,
        "notes": notes,
        "samples": len(rows),
        "tokens": tokens,
        "memory_bytes": memory,
        "cache_bytes": int(tokens * (teacher["width"] or 0) * value_bytes),
        "seconds": _seconds(ledger, operations),
        "teacher": teacher,
        "student": student,
    }


@contextmanager
def _as_problem(problems: list[str]) -> Iterator[None]:
    """Turn a WinnowError inside into one of the problems."""
    try:
        yield
    except WinnowError as error:
        problems.append(str(error))


def _model_facts(recipe: PairRecipe, role: str) -> Facts:
    """Facts of a model without loading its weights. Raises WinnowError if there is no such model."""
    pair, model = recipe.models, getattr(recipe.models, role)
    name = scratch_name(pair.source(role))
    if not name or not recipe.scratch:
        return model_facts_of(pair.source(role), model)
    settings = scratch_exit(model, pair.teacher, recipe.scratch.models[name])
    parameters = flops.parameters_of(settings, recipe.scratch.vocab_size)
    made = "made by Winnow, trained first on the recipe's corpus"
    origin = made if exit_layer(model) is None else OF_TEACHER
    return {"name": model, "origin": origin, "parameters": parameters, "width": settings.width}


def _size(
    recipe: PairRecipe, teacher: Facts, student: Facts, tokenizer: PreTrainedTokenizerBase | None
) -> flops.PairSize:
    """Of the two models, whose heads have a row for each token; what cannot be found counts as nothing."""
    scratch = recipe.scratch.vocab_size if recipe.scratch else 0
    vocabulary = scratch if tokenizer is None else len(tokenizer)
    heads = (vocabulary * (facts["width"] or 0) for facts in (teacher, student))
    return flops.PairSize(teacher["parameters"] or 0, student["parameters"] or 0, *heads)


def _read(data: DataSettings) -> tuple[list[Row], list[str]]:
    """The rows of the source, and a note for every reason to leave rows out. Raises WinnowError if it is unusable."""
    found = read_rows(data.source, data.split, data.skip, data.limit, data.columns)
    return found.rows, [f"{count:,} rows are left out: {why}." for why, count in found.dropped.items()]


def _shared_tokenizer(pair: PairSettings) -> PreTrainedTokenizerBase | None:
    """The tokenizer of both models; None if it is made with them. Raises WinnowError if they do not share one."""
    sources = pair.source("teacher"), pair.source("student")
    scratch = [scratch_name(source) is not None for source in sources]
    if all(scratch):
        return None
    if any(scratch):
        raise WinnowError("A scratch: model has a tokenizer of its own; use scratch: models for both or for neither.")
    return shared_tokenizer(load_tokenizer(sources[0]), load_tokenizer(sources[1]), sources)


def _count_tokens(
    rows: Sequence[Row], template: Template, tokenizer: PreTrainedTokenizerBase | None, max_length: int
) -> tuple[int, list[str]]:
    """Tokens that the models read of the rows, and what to note about the number."""
    if tokenizer is None:
        characters = sum(len(piece.text) for row in rows for piece in pieces(template, row))
        return characters // CHARACTERS_PER_TOKEN, [
            "The number of tokens is an estimate: the tokenizer is made with the models."
        ]
    lengths = [sample.length for sample in readable(rows, template, tokenizer, None)]
    longer = sum(length > max_length for length in lengths)
    notes = [f"{longer:,} rows are longer than {max_length:,} tokens and will be cut there."] if longer else []
    return sum(min(length, max_length) for length in lengths), notes


def _memory(recipe: PairRecipe, teacher: Facts, student: Facts, value_bytes: int, max_length: int) -> int:
    """Bytes for the weights of both models, the tiles of logits, and the activations of a training batch, roughly."""
    bits = recipe.models.teacher_bits
    teacher_bytes = value_bytes if bits == FULL else bits / 8
    own = 0 if exit_layer(recipe.models.student) is not None else student["parameters"] or 0  # an exit has no weights
    weights = int((teacher["parameters"] or 0) * teacher_bytes + own * value_bytes)
    tiles = 4 * 2 * recipe.scoring.tile * 2048
    if not isinstance(recipe, DynamicPruningRecipe):
        return weights + tiles
    batch_tokens = recipe.training.batch_size * max_length
    return weights + tiles + 48 * batch_tokens * (student["width"] or 0)


def _free_memory(device: torch.device, placement: Placement) -> int:
    """Bytes for the pair: on the device, or on all devices and the host if the teacher is spread over them."""
    host = int(psutil.virtual_memory().available)
    if device.type != "cuda":
        return host
    if not placement.spread:
        return torch.cuda.mem_get_info(device)[0]
    return host + sum(torch.cuda.mem_get_info(index)[0] for index in range(torch.cuda.device_count()))


def _seconds(ledger: Ledger, operations: float) -> float | None:
    """Seconds at the speed of the runs this workspace has finished; None if it has finished none."""
    rates = [
        run.provenance["operations_per_second"]
        for run in ledger.runs(50)
        if run.state == "done" and run.provenance.get("operations_per_second")
    ]
    return operations / float(np.median(rates)) if rates else None
