"""What decoded text is worth as examples in the prompt of a causal language model, beside real samples and none."""

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
from transformers import DynamicCache, PreTrainedTokenizerBase
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from engine.common.errors import WinnowError
from engine.common.memory import is_out_of_memory
from engine.common.text import reason
from engine.config.distillation import PROMPTS, PromptSettings, SetKey
from engine.data.sources import clean_text
from engine.data.tokenizers import begin_token
from engine.distillation.likelihood import label_likelihoods, label_scores
from engine.models.loading import LoadedModel, load_model, load_tokenizer
from engine.studies import flops as cost
from engine.studies.job import Job

Example = tuple[str, str]  # text, name of its class

TOKENS_AT_ONCE = {"cpu": 8192, "cuda": 65536}


def prompt_worth(
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
    """Rows of the evaluation table: the same test samples, asked after no example, decoded text and real samples.

    `real(draw)` gives random real samples for each draw; `flops` are the floating-point operations that the run has
    planned for all of this. Where `test` has more than `settings.samples` samples, the same random ones are asked
    about for every set. A draw shuffles the examples. Without examples there is nothing to draw: the model is asked
    once, and every draw has that row.

    The class whose name has the highest mean log-likelihood per token is the answer; `loss` is the cross-entropy of the
    softmax over these means. `seconds` and `flops` are those of reading the prompts of one draw, in which the
    examples are read once.

    Raises WinnowError, naming the model, where it cannot be had or used, where two classes are the same tokens to it,
    and where the examples do not fit into its context even without their texts; ValueError where `test` is empty.
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
            words = f"asking {settings.model} after {PROMPTS[method]}, draw {draw + 1} of {settings.draws}"
            with job.phase(words, each) as tick:
                started = time.perf_counter()
                before, questions, cut = prompts.fit(examples, texts)
                scores, operations = _ask(model, prompts, before, questions, tick)
                seconds = time.perf_counter() - started
            if cut.texts or cut.examples:
                job.log.info(
                    "to fit the context of %s, %d of %d test texts and %d of %d examples were cut",
                    settings.model,
                    cut.texts,
                    len(texts),
                    cut.examples,
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


@dataclass(frozen=True)
class Cut:
    """How many lost tokens to the context."""

    texts: int
    examples: int


class Prompts:
    """Prompts as tokens: blocks "text, new line, label: class" with a blank line between them, the question last.

    A text stands on one line whatever it holds, so that none can spell the end of its block or a special token.
    Texts, labels and blank lines are tokenised apart and joined as tokens.
    """

    def __init__(self, model: LoadedModel, tokenizer: PreTrainedTokenizerBase, class_names: Sequence[str]) -> None:
        """Raises WinnowError where a class has no tokens, or two have the same, or a label alone exceeds the context.

        Where a tokenizer joins the colon with what follows, the question ends before the tokens that differ.
        """
        self._model = model
        self._tokenizer = tokenizer
        self._begin = begin_token(tokenizer)
        self._blank = self._ids("\n\n")
        whole = [self._ids(f"\nlabel: {_line(name)}") for name in class_names]
        bare = self._ids("\nlabel:")
        asked = min(_common(bare, ids) for ids in whole)
        self.question = bare[:asked]  # what follows the text of a question
        self.labels = [ids[asked:] for ids in whole]
        self._label_of = dict(zip(class_names, whole, strict=True))
        seen: dict[tuple[int, ...], str] = {}
        for name, label in zip(class_names, self.labels, strict=True):
            if not label or not _line(name):
                raise WinnowError(f"The class {name!r} has no tokens for {model.name}; give the class a name in words.")
            other = seen.setdefault(tuple(label), name)
            if other != name:
                raise WinnowError(
                    f"The classes {other!r} and {name!r} are the same tokens for {model.name}, so it cannot tell them "
                    "apart; rename one of them, or choose another model."
                )
        self._least = len(self._begin) + asked + max(len(label) - 1 for label in self.labels)
        if model.context is not None and self._least >= model.context:
            raise WinnowError(
                f"{model.name} reads {model.context:,} tokens at once, too few for a label of {self._least:,}; "
                "choose a model with a longer context, or shorter names of classes."
            )

    def text(self, text: str) -> list[int]:
        return self._ids(_line(text))

    def fit(self, examples: Sequence[Example], texts: Sequence[list[int]]) -> tuple[list[int], list[list[int]], Cut]:
        """The examples, which are the same for every question, the questions, and how many of both were cut.

        Where the longest question and the examples do not fit, each may have half of what the labels leave of the
        context, and more where the other needs less. Texts lose their beginning, of the examples the longest first;
        labels are never cut. Raises WinnowError where the labels of the examples alone are too long.
        """
        shown = [self.text(text) for text, _ in examples]
        frames = [[*self._label_of[name], *self._blank] for _, name in examples]
        longest, needed = max(map(len, texts)), sum(map(len, shown))
        context = self._model.context
        if context is not None:
            room = context - self._least - sum(map(len, frames))
            if room < 1:
                raise WinnowError(
                    f"{len(examples)} examples do not fit into the {context:,} tokens that {self._model.name} reads "
                    "at once, even without their texts; choose fewer per class, or a model with a longer context."
                )
            longest = min(longest, max(room - room // 2, room - needed))
            level = _level([len(text) for text in shown], room - longest)
        else:
            level = needed
        before = [*self._begin]
        for text, frame in zip(shown, frames, strict=True):
            before += _end(text, level) + frame
        questions = [_end(text, longest) + self.question for text in texts]
        cut = Cut(sum(len(text) > longest for text in texts), sum(len(text) > level for text in shown))
        return before, questions, cut

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False)[
            "input_ids"
        ]
        known = self._model.model.config.get_text_config().vocab_size
        if max(ids, default=0) >= known:
            raise WinnowError(
                f"The tokenizer of {self._model.name} gives token {max(ids):,}, and its model knows only {known:,}; "
                "choose a model and tokenizer that belong together."
            )
        return ids


def _line(text: str) -> str:
    return " ".join(clean_text(text).split())


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens both begin with."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _end(tokens: list[int], count: int) -> list[int]:
    return tokens[max(len(tokens) - count, 0) :]


def _level(lengths: Sequence[int], room: int) -> int:
    """The largest length to which all may be cut so that together they are no longer than `room`."""
    for place, length in enumerate(ordered := sorted(lengths)):
        left = len(ordered) - place
        if length * left > room:
            return room // left
        room -= length
    return max(lengths, default=0)


def _ask(
    model: LoadedModel,
    prompts: Prompts,
    before: list[int],
    questions: Sequence[Sequence[int]],
    tick: Callable[[int, int], None],
) -> tuple[Tensor, float]:
    """Scores (n, C) of the classes after every question, and the floating-point operations they took.

    Out of memory halves the batches and starts again. Raises WinnowError where one prompt alone does not fit, and
    where the model gives no numbers.
    """
    tokens = TOKENS_AT_ONCE[model.model.device.type]
    alone = len(before) + max(map(len, questions))
    while True:
        scores = None
        try:
            reader = Reader(model, before)
            likelihoods = label_likelihoods(
                reader, questions, prompts.labels, 0, tokens=tokens, shared=len(before), tick=tick
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
    return scores, cost.scoring(reader.tokens, model.parameters)


class Reader:
    """The logits of a model after the same beginning, which is read once where the model can keep what it has read."""

    def __init__(self, model: LoadedModel, before: Sequence[int]) -> None:
        self.tokens = 0  # read so far, padding left out
        self._model = model
        self._before = torch.tensor([before], dtype=torch.long)
        self._kept: DynamicCache | None = None
        if before:
            kept = self._forward(self._before, logits_to_keep=1, use_cache=True).get("past_key_values")
            if isinstance(kept, DynamicCache) and all(type(layer) in _PLAIN for layer in kept.layers):
                self._kept = kept
                self.tokens = len(before)

    def __call__(self, ids: Tensor, mask: Tensor, columns: Tensor) -> Tensor:
        """Logits (B, K, V) at the K `columns` of ids (B, L); `mask` is 0 at padding, which stands on the right."""
        count, length = len(ids), self._before.shape[1]
        seen = torch.cat([torch.ones(count, length, dtype=mask.dtype), mask], dim=1)
        if self._kept is not None:
            kept = copy.deepcopy(self._kept)  # the model adds to it what it reads
            kept.batch_repeat_interleave(count)
            self.tokens += int(mask.sum())
            answer = self._forward(ids, attention_mask=seen, past_key_values=kept, logits_to_keep=columns)
        else:
            whole = torch.cat([self._before.expand(count, -1), ids], dim=1)
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


_PLAIN = (DynamicLayer, DynamicSlidingWindowLayer)  # keys and values of the tokens read, which can be repeated


def _check_causal(model: LoadedModel) -> None:
    """Raises WinnowError where the model reads a token together with those after it, as an encoder does."""
    pairs = torch.tensor([[1, 2], [1, 3]])
    one, other = Reader(model, [])(pairs, torch.ones_like(pairs), torch.tensor([0])).float()
    tolerance = 1e-4 if model.model.dtype == torch.float32 else 2e-2
    if (one - other).abs().max() > tolerance * one.abs().max():
        raise WinnowError(
            f"{model.name} reads every token with those that follow, so it is no causal language model; choose one."
        )
