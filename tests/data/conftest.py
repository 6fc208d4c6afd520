"""Small byte-level tokenizers made on the spot."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

TEXT = ["Name the capital of France.\nParis\n", "q\nba\nbb\nb a", "Add 17 and 23.\n40\n"] * 40


def make_tokenizer(
    text: Iterable[str] = TEXT,
    vocab_size: int = 320,
    specials: tuple[str, ...] = ("<s>", "</s>"),
    adds_begin: bool = False,
    end: str | None = "</s>",
) -> PreTrainedTokenizerFast:
    """A byte-level BPE whose merges may cross line ends, which makes a careless border visible."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=list(specials), initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(text, trainer)
    if adds_begin:
        backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token=end)


@pytest.fixture(scope="session")
def make() -> Callable[..., PreTrainedTokenizerFast]:
    return make_tokenizer


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer()
