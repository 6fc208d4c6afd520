"""How many tokens a model can read, from its configuration."""

from __future__ import annotations

from typing import Any

# The first position is the one after the pad token's id, as in fairseq, so that many rows of the table are never used.
AFTER_PADDING = {
    "camembert",
    "data2vec-text",
    "esm",
    "layoutlmv3",
    "lilt",
    "longformer",
    "luke",
    "markuplm",
    "mpnet",
    "prophetnet",
    "roberta",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
}
_KEYS = ("max_position_embeddings", "n_positions", "max_seq_len")


def positions_of(config: Any) -> int | None:
    """The longest sequence, in tokens with special tokens, that a model of this configuration was built for; None if
    nothing limits it (Mamba, T5, XLNet) or the configuration does not say.

    Behind a learned table of positions there is nothing; rotary positions go on, but no such text was trained on.
    """
    text = config.get_text_config()
    found = next((value for key in _KEYS if (value := getattr(text, key, None)) is not None), None)
    if found is None or found <= 0:  # XLNet says -1
        return None
    offset = (text.pad_token_id or 0) + 1 if text.model_type in AFTER_PADDING else 0
    return int(found) - offset


def shortest(most: int, *contexts: int | None) -> int:
    """How many tokens all of some models read: at most `most`, and no more than any of their contexts."""
    return min([most, *(context for context in contexts if context is not None)])
