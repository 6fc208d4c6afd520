"""Prompts as tokens: examples with their labels, and the question, cut to the context of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from engine.common.errors import WinnowError
from engine.common.text import printable
from engine.data.sources import clean_text
from engine.data.tokenizers import begin_token
from engine.models.loading import LoadedModel

Example = tuple[str, str]  # text, name of its class


@dataclass(frozen=True)
class Truncated:
    """How many texts and examples lost tokens to fit the context."""

    texts: int
    examples: int


class Prompts:
    """Blocks "text, new line, label: class" with a blank line between them, the question last.

    Every text is put on one line, so that none can contain the end of its block or a special token. Texts, labels and
    blank lines are tokenised apart and joined as tokens.
    """

    def __init__(self, model: LoadedModel, tokenizer: PreTrainedTokenizerBase, class_names: Sequence[str]) -> None:
        """Raises WinnowError if a class has no tokens, or two have the same, or a label alone exceeds the context.

        If a tokenizer joins the colon with what follows, the question ends before the tokens that differ.
        """
        self._model = model
        self._tokenizer = tokenizer
        self._begin = begin_token(tokenizer)
        self._blank = self._ids("\n\n")
        lines = [self._ids(f"\nlabel: {_line(name)}") for name in class_names]
        question = self._ids("\nlabel:")
        length = min(_common(question, ids) for ids in lines)
        self.question = question[:length]  # what follows the text of a question
        self.labels = [ids[length:] for ids in lines]
        self._label_line = dict(zip(class_names, lines, strict=True))
        seen: dict[tuple[int, ...], str] = {}
        for name, label in zip(class_names, self.labels, strict=True):
            if not label or not _line(name):
                raise WinnowError(
                    f"The class {printable(repr(name))} has no tokens for {model.name}; give the class a name in words."
                )
            other = seen.setdefault(tuple(label), name)
            if other != name:
                raise WinnowError(
                    f"The classes {printable(repr(other))} and {printable(repr(name))} are the same tokens for "
                    f"{model.name}, so it cannot tell them apart; rename one of them, or choose another model."
                )
        self._least = len(self._begin) + length + max(len(label) - 1 for label in self.labels)
        if model.context is not None and self._least >= model.context:
            raise WinnowError(
                f"{model.name} reads {model.context:,} tokens at once, too few for a label of {self._least:,}; "
                "choose a model with a longer context, or shorter names of classes."
            )

    def text(self, text: str) -> list[int]:
        return self._ids(_line(text))

    def fit(
        self, examples: Sequence[Example], texts: Sequence[list[int]]
    ) -> tuple[list[int], list[list[int]], Truncated]:
        """The examples as one prefix of all questions, the questions, and how many of both were truncated.

        If the longest question and the examples do not fit, each may have half of what the labels leave of the context,
        and more if the other needs less. Texts lose their beginning, of the examples the longest first; labels are
        never truncated. Raises WinnowError if the labels of the examples alone are too long.
        """
        shown = [self.text(text) for text, _ in examples]
        labels = [[*self._label_line[name], *self._blank] for _, name in examples]
        longest, needed = max(map(len, texts)), sum(map(len, shown))
        context = self._model.context
        if context is not None:
            left = context - self._least - sum(map(len, labels))
            if left < 1:
                raise WinnowError(
                    f"{len(examples)} examples do not fit into the {context:,} tokens that {self._model.name} reads "
                    "at once, even without their texts; choose fewer per class, or a model with a longer context."
                )
            longest = min(longest, max(left - left // 2, left - needed))
            most = _longest([len(text) for text in shown], left - longest)
        else:
            most = needed
        prefix = [*self._begin]
        for text, label in zip(shown, labels, strict=True):
            prefix += _end(text, most) + label
        questions = [_end(text, longest) + self.question for text in texts]
        truncated = Truncated(sum(len(text) > longest for text in texts), sum(len(text) > most for text in shown))
        return prefix, questions, truncated

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


def _longest(lengths: Sequence[int], budget: int) -> int:
    """The largest length to which all may be cut so that together they are no longer than `budget`."""
    for place, length in enumerate(ordered := sorted(lengths)):
        left = len(ordered) - place
        if length * left > budget:
            return budget // left
        budget -= length
    return max(lengths, default=0)
