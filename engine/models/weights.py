"""Whether a model has got all its weights from its files: what no file holds, `from_pretrained` draws at random."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from transformers import PreTrainedModel

from engine.common.errors import WinnowError
from engine.common.text import printable

SHOWN = 3  # keys that a sentence names

# Tables that earlier versions of transformers saved although they are computed: masks, positions, rotary angles.
_COMPUTED = re.compile(
    r"(^|\.)(masked_bias|(cross)?attn\.bias|causal_mask|position_ids|relative_position_index|num_batches_tracked"
    r"|inv_freq|cos_cached|sin_cached)$"
)
_OPTIONAL = re.compile(r"(^|[._])(pooler|mask_token)(\.|$)")  # parts of a body that one task uses and another does not


def require_whole(source: str, model: PreTrainedModel, info: Mapping[str, Any], *, fresh_head: bool = False) -> None:
    """Raises WinnowError naming the source and the first keys if weights are missing, have another shape than in the
    file, or stand in the file and have no place in the model.

    `info` is what `from_pretrained(..., output_loading_info=True, ignore_mismatched_sizes=True)` returns beside the
    model; ties and what each architecture leaves out are already taken from it. With `fresh_head` only the body has to
    be whole: a classifier's head may be drawn afresh, the head of an earlier task dropped, and so may a pooler.
    """
    missing = sorted(info["missing_keys"])
    other = {key: (tuple(held), tuple(asked)) for key, held, asked in sorted(info["mismatched_keys"])}
    unused = sorted(key for key in info["unexpected_keys"] if not _COMPUTED.search(key))
    if fresh_head:
        missing = [key for key in missing if not _replaceable(key, model)]
        other = {key: shapes for key, shapes in other.items() if not _replaceable(key, model)}
        unused = [key for key in unused if not _replaceable(key, model)]
    if not (missing or other or unused):
        return
    shapes = [f"{key} is {held} in the file and {asked} in the model" for key, (held, asked) in other.items()]
    found = [
        f"{len(missing)} that the model needs are in no file ({_first(missing)})" if missing else "",
        f"{len(other)} have another shape ({_first(shapes, '; ')})" if other else "",
        f"{len(unused)} have no place in the model ({_first(unused)})" if unused else "",
    ]
    raise WinnowError(
        f"The weights of {source} are not those that its configuration describes: "
        f"{', '.join(part for part in found if part)}. {_advice(missing, info['unexpected_keys'])}"
    )


def _replaceable(key: str, model: PreTrainedModel) -> bool:
    """Whether a weight belongs to a head, and not to the body of a classifier."""
    if _OPTIONAL.search(key):
        return True
    prefix = model.base_model_prefix
    if not hasattr(model, prefix):  # a few image classifiers have the body's parts beside the head
        inside = {name.split(".")[0] for name, _ in list(model.named_children())[:-1]}
        return key.split(".")[0] not in inside
    body = {_shape_of(name) for name, _ in model.get_submodule(prefix).named_parameters()}
    # A body that was saved alone has keys without the prefix.
    return not key.startswith(f"{prefix}.") and _shape_of(key) not in body


def _shape_of(key: str) -> str:
    """A key with its numbers left out: the same for each layer."""
    return re.sub(r"\d+", "#", key)


def _first(entries: Collection[str], separator: str = ", ") -> str:
    shown = [printable(entry) for entry in list(entries)[:SHOWN]]
    return separator.join(shown) + (f"{separator}…" if len(entries) > SHOWN else "")


def _advice(missing: Collection[str], unused: Collection[str]) -> str:
    for key in missing:
        wrapper = next((other.removesuffix(key) for other in unused if other.endswith(f".{key}")), None)
        if wrapper and all(other.startswith(wrapper) for other in unused):
            return f"Each begins with {printable(wrapper)!r}, as a wrapper saves it: save the model inside the wrapper."
    if missing:
        return "Those would be drawn at random: save the whole model, head included, with save_pretrained."
    return "Save the whole model with save_pretrained, so that weights and config.json agree."
