"""The request "trace": how the two models of a run differ on a typed prompt and response, token by token."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from transformers import PreTrainedModel

from engine.common.errors import WinnowError
from engine.config.kinds import PRUNING
from engine.config.pruning import PairRecipe
from engine.data.samples import encode_rows
from engine.data.sources import Row
from engine.data.templates import resolve_template
from engine.data.token_text import TokenText
from engine.data.tokenizers import vocabulary_size, with_chat_template
from engine.data.turns import Turn, answered
from engine.models.checkpoint import load_checkpoint
from engine.models.loading import load_model, load_student, load_tokenizer, resolve_device, resolve_dtype
from engine.models.lora import attach_lora, detach_lora, load_adapter
from engine.models.placement import placement_of
from engine.scoring.score import score_samples
from engine.storage.ledger import Ledger, Run
from engine.storage.workspace import Workspace
from engine.studies.pruning.scoring import TOP_TOKENS, token_row


def trace(workspace: Workspace, ledger: Ledger, payload: dict[str, Any]) -> dict[str, Any]:
    """{"run", "student": "base" or "dynamic", and a sample} -> token scores and metrics.

    The sample is {"instruction", "input", "response"}, or {"turns": [[speaker, text], …]} that end with a reply.
    """
    started = time.perf_counter()
    row = _row(payload)
    run = ledger.run(payload["run"])
    recipe, facts = run.parsed(), run.provenance
    if not isinstance(recipe, PairRecipe) or "teacher_hash" not in facts:
        raise WinnowError(f"Run {run.id} has no pair of models yet; choose one that has scored its samples.")
    pair, device = recipe.models, resolve_device()
    dtype = resolve_dtype(pair.dtype, device)
    teacher = load_model(pair.teacher, facts["teacher_source"], dtype, device, placement_of(pair))
    student = load_student(pair.student, facts["student_source"], dtype, device, lambda: teacher).model
    # That the two read texts alike was found when the run began.
    tokenizer = with_chat_template(load_tokenizer(facts["student_source"]), load_tokenizer(facts["teacher_source"]))
    # Runs of earlier versions wrote the template they used into their recipe.
    template = resolve_template(facts.get("template", recipe.data.template), bool(row["turns"]), tokenizer)
    max_length = facts.get("max_length", pair.max_length)  # runs of earlier versions did not record it
    [sample] = encode_rows([row], template, tokenizer, max_length)
    if isinstance(sample, str):
        raise WinnowError(f"The models cannot be given this conversation: {sample}; change its turns.")
    if not sample.response_length:
        raise WinnowError(f"The prompt alone fills the {max_length:,} tokens these models read; shorten it.")
    as_asked: AbstractContextManager[Any] = (
        _after_training(workspace, run, student) if payload["student"] == "dynamic" else nullcontext(student)
    )
    with as_asked as model:
        [result] = score_samples(
            teacher.model,
            model,
            [sample],
            vocab_size=vocabulary_size(tokenizer),
            token_budget=recipe.scoring.token_budget,
            tile=recipe.scoring.tile,
            top_k=TOP_TOKENS,
        )
    return {
        **token_row(TokenText(tokenizer), sample, result),
        "metrics": result.metrics(),
        "truncated": sample.truncated,
        "teacher": pair.teacher,
        "student": pair.student,
        "seconds": time.perf_counter() - started,
    }


def _row(payload: dict[str, Any]) -> Row:
    """The sample of a request as a row. Raises WinnowError if it has no response."""
    turns = answered([Turn(speaker, text) for speaker, text in payload.get("turns", [])])
    response = turns[-1].text if turns else payload.get("response", "")
    if not response.strip():
        raise WinnowError("The response is empty; write what the models should have answered.")
    instruction, prompt_input = payload.get("instruction", ""), payload.get("input", "")
    return Row(row=0, instruction=instruction, input=prompt_input, response=response, system="", turns=turns, fields={})


@contextmanager
def _after_training(workspace: Workspace, run: Run, student: PreTrainedModel) -> Iterator[Any]:
    """The student with the last adapter of the dynamic arm of the first seed; without it again afterwards."""
    recipe = run.recipe_as(PRUNING)
    found = sorted((workspace.checkpoints / run.id).glob(f"dynamic-s{recipe.seeds[0]}-e*.safetensors"))
    if not found:
        raise WinnowError(f"Run {run.id} has not trained its student yet; choose the student before training.")
    model = attach_lora(student, recipe.training.lora, seed=0)
    try:
        load_adapter(model, load_checkpoint(found[-1])[0])
        yield model
    finally:
        detach_lora(model)
