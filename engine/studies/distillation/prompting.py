"""Decoded texts as examples in the prompt of a causal language model, evaluated beside real samples and none."""

from __future__ import annotations

import copy
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from engine.common.errors import WinnowError
from engine.common.memory import is_out_of_memory
from engine.common.text import reason
from engine.config.distillation import PROMPTS, PromptSettings, SetKey
from engine.distillation.likelihood import label_likelihoods, label_scores
from engine.models.loading import LoadedModel, load_model, load_tokenizer, model_facts_of
from engine.studies import flops as flops_of
from engine.studies.distillation.learned_sets import load_set
from engine.studies.distillation.prompts import Example, Prompts
from engine.studies.distillation.setup import DistillationStudy
from engine.studies.distillation.training_sets import TrainingSets
from engine.studies.job import Job

TOKENS_AT_ONCE = {"cpu": 8192, "cuda": 65536}


@dataclass(frozen=True)
class PromptMeasurement:
    """Key of a work unit: a causal language model after decoded texts, real samples and no examples."""

    key: SetKey
    flops: float  # floating-point operations

    @property
    def part(self) -> str:
        return f"{self.key.name}-prompts"


def prompt_measurement(study: DistillationStudy, settings: PromptSettings) -> PromptMeasurement:
    """The unit of the first set. Raises WinnowError if there is no such language model, before anything is learned."""
    key = study.recipe.sets()[0]
    task, _ = study.opened[key.task, key.student]
    tokens = min(settings.samples, len(task.samples["test"])) * float(task.lengths["test"].mean())
    parameters = model_facts_of(settings.model)["parameters"]
    return PromptMeasurement(key, flops_of.scoring(round((1 + 2 * settings.draws) * tokens), parameters))


def measure_prompts(study: DistillationStudy, sets: TrainingSets, unit: PromptMeasurement) -> None:
    """Do the unit, and record its rows."""
    job, key, settings = study.job, unit.key, study.recipe.prompting
    assert settings is not None
    task, model = study.opened[key.task, key.student]
    names = task.data.class_names

    def examples(texts: list[str], labels: list[int]) -> list[Example]:
        return [(text, names[label]) for text, label in zip(texts, labels, strict=True)]

    train, test = (examples(task.texts(split), task.labels[split].tolist()) for split in ("train", "test"))
    rows = evaluate_prompts(
        job,
        settings,
        key=key,
        class_names=names,
        distilled=examples(sets.texts(key), load_set(study, key).facts["classes"]),
        real=lambda draw: [train[i] for i in sets.select(task, model, key.per_class, "random", draw)],
        test=test,
        flops=unit.flops,
    )
    job.record([job.write("evaluation", unit.part, rows)])


def evaluate_prompts(
    job: Job,
    settings: PromptSettings,
    *,
    key: SetKey,
    class_names: Sequence[str],
    distilled: Sequence[Example],
    real: Callable[[int], Sequence[Example]],
    test: Sequence[Example],
    flops: float,
) -> list[dict[str, Any]]:
    """Rows of the evaluation table: the same test samples after no example, decoded texts and real samples.

    `real(draw)` gives random real samples for each draw; `flops` are the floating-point operations that the run has
    planned for all of this. If `test` has more than `settings.samples` samples, the same random ones are used for every
    set. A draw shuffles the examples. Without examples there is nothing to draw: they are evaluated once, and every
    draw has that row.

    The class whose name has the highest mean log-likelihood per token is the answer; `loss` is the cross-entropy of the
    softmax over these means. `seconds` and `flops` are those of reading the prompts of one draw, in which the
    examples are read once.

    Raises WinnowError, naming the model, if it cannot be loaded or used, if two classes are the same tokens to it, and
    if the examples do not fit into its context even without their texts; ValueError if `test` is empty.
    """
    if not test:
        raise ValueError("there is no test sample to ask about")
    source = job.local_path(settings.model)
    model = load_model(settings.model, source, job.dtype("auto"), job.device)
    _check_causal(model)
    prompts = Prompts(model, load_tokenizer(source, ends=False), class_names)
    if len(test) > settings.samples:
        test = random.Random(0).sample(test, settings.samples)
    texts = [prompts.text(text) for text, _ in test]
    answers = torch.tensor([list(class_names).index(name) for _, name in test])
    each = flops / (1 + 2 * settings.draws)
    rows: list[dict[str, Any]] = []
    for method in PROMPTS:
        for draw in range(settings.draws):
            if method == "prompt_none" and draw:
                rows.append(rows[0] | {"eval_seed": draw})
                continue
            examples = [] if method == "prompt_none" else list(distilled if method == "prompt_text" else real(draw))
            random.Random(f"{key.name} {draw}").shuffle(examples)
            message = f"prompting {settings.model} with {PROMPTS[method]}, draw {draw + 1} of {settings.draws}"
            with job.phase(message, each) as tick:
                started = time.perf_counter()
                prefix, questions, truncated = prompts.fit(examples, texts)
                scores, operations = _label_scores(model, prompts, prefix, questions, tick)
                seconds = time.perf_counter() - started
            if truncated.texts or truncated.examples:
                job.log.info(
                    "to fit the context of %s, %d of %d test texts and %d of %d examples were cut",
                    settings.model,
                    truncated.texts,
                    len(texts),
                    truncated.examples,
                    len(examples),
                )
            rows.append(
                {
                    **key._asdict(),
                    "method": method,
                    "trained": settings.model,
                    "eval_seed": draw,
                    "samples": len(examples),
                    "learning_rate": math.nan,
                    "steps": 0,
                    "valid": math.nan,
                    "accuracy": float((scores.argmax(1) == answers).double().mean()),
                    "loss": float(cross_entropy(scores, answers)),
                    "seconds": seconds,
                    "flops": operations,
                }
            )
    return rows


def _label_scores(
    model: LoadedModel,
    prompts: Prompts,
    prefix: list[int],
    questions: Sequence[Sequence[int]],
    tick: Callable[[int, int], None],
) -> tuple[Tensor, float]:
    """Scores (n, C) of the classes after every question, and the floating-point operations they took.

    Out of memory halves the batches and starts again. Raises WinnowError if one prompt alone does not fit, and if the
    model gives NaN.
    """
    tokens = TOKENS_AT_ONCE[model.model.device.type]
    alone = len(prefix) + max(map(len, questions))
    while True:
        scores = None
        try:
            prefixed = PrefixedModel(model, prefix)
            likelihoods = label_likelihoods(
                prefixed, questions, prompts.labels, 0, tokens=tokens, shared=len(prefix), tick=tick
            )
            scores = label_scores(likelihoods, prompts.labels)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if tokens <= alone:
                raise WinnowError(
                    f"A prompt of {alone:,} tokens does not fit into memory with {model.name}; choose a smaller "
                    "model, or fewer inputs per class."
                ) from error
        if scores is not None:
            break
        tokens //= 2
    if not scores.isfinite().all():
        raise WinnowError(f"{model.name} gives probabilities that are no numbers; choose another model.")
    return scores, flops_of.scoring(prefixed.tokens, model.parameters)


class PrefixedModel:
    """The logits of a model after one prefix, which is computed once if the model has a cache that can be repeated."""

    def __init__(self, model: LoadedModel, prefix: Sequence[int]) -> None:
        self.tokens = 0  # computed so far, without padding
        self._model = model
        self._prefix = torch.tensor([prefix], dtype=torch.long)
        self._cache: DynamicCache | None = None
        if prefix:
            cache = self._forward(self._prefix, logits_to_keep=1, use_cache=True).get("past_key_values")
            if isinstance(cache, DynamicCache) and all(type(layer) in _REPEATABLE for layer in cache.layers):
                self._cache = cache
                self.tokens = len(prefix)

    def __call__(self, ids: Tensor, mask: Tensor, columns: Tensor) -> Tensor:
        """Logits (B, K, V) at the K `columns` of ids (B, L); `mask` is 0 at padding, which stands on the right."""
        count, length = len(ids), self._prefix.shape[1]
        seen = torch.cat([torch.ones(count, length, dtype=mask.dtype), mask], dim=1)
        if self._cache is not None:
            cache = copy.deepcopy(self._cache)  # the model adds to it
            cache.batch_repeat_interleave(count)
            self.tokens += int(mask.sum())
            answer = self._forward(ids, attention_mask=seen, past_key_values=cache, logits_to_keep=columns)
        else:
            whole = torch.cat([self._prefix.expand(count, -1), ids], dim=1)
            self.tokens += int(seen.sum())
            answer = self._forward(whole, attention_mask=seen, use_cache=False, logits_to_keep=columns + length)
        logits: Tensor = answer["logits"]
        return logits

    def _forward(self, ids: Tensor, **options: Any) -> Any:
        model = self._model.model
        there = {name: v.to(model.device) if isinstance(v, Tensor) else v for name, v in options.items()}
        try:
            with torch.inference_mode():
                return model(input_ids=ids.to(model.device), return_dict=True, **there)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            why = f"{type(error).__name__}: {reason(error)}"
            raise WinnowError(f"{self._model.name} cannot be prompted ({why}); choose another model.") from error


_REPEATABLE = (DynamicLayer, DynamicSlidingWindowLayer)  # keys and values that can be repeated for a batch


def _check_causal(model: LoadedModel) -> None:
    """Raises WinnowError if the logits of a token depend on later tokens, as those of an encoder do."""
    pairs = torch.tensor([[1, 2], [1, 3]])
    one, other = PrefixedModel(model, [])(pairs, torch.ones_like(pairs), torch.tensor([0])).float()
    tolerance = 1e-4 if model.model.dtype == torch.float32 else 2e-2
    if (one - other).abs().max() > tolerance * one.abs().max():
        raise WinnowError(
            f"{model.name} reads every token with those that follow, so it is no causal language model; choose one."
        )
