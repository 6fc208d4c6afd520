"""The student of a distilled set of texts: a fresh start, and its logits for vectors in place of token embeddings."""

import torch
from transformers import AutoModelForSequenceClassification


def make_student(training: dict, seed: int) -> torch.nn.Module:
    """The pretrained body with a fresh head, drawn by `seed`; dropout is off, as it was while the inputs were learned.

    Vectors do not pass through the table of token embeddings, so training on them leaves it as it is.
    """
    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(
        training["student"], num_labels=training["classes"], ignore_mismatched_sizes=True, attn_implementation="eager"
    )
    model.get_input_embeddings().requires_grad_(False)
    if getattr(model.config, "pad_token_id", None) is None:
        model.config.pad_token_id = 0  # GPT-2 asks for one if there are several inputs; vectors are never padded
    return model.eval()


def forward(model: torch.nn.Module, inputs: torch.Tensor, attention: bool) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Logits (N, C) of inputs (N, L, d), special tokens included; if asked, where the first token attends."""
    out = model(inputs_embeds=inputs, output_attentions=attention)
    return out.logits, torch.stack([layer[:, :, 0] for layer in out.attentions], 1) if attention else None
