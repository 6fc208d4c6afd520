"""LoRA folders and other adapters of PEFT as models: the base is loaded, the adapter merged into it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from peft import PeftConfig, get_peft_model
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedModel
from transformers.utils import cached_file

from engine.common.errors import WinnowError
from engine.common.text import printable, reason

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
_MERGED = "or merge it (PEFT's merge_and_unload) and give the merged model's folder."


@dataclass(frozen=True)
class Adapter:
    """The folder of an adapter, and the model it was trained on."""

    name: str  # as the recipe writes it
    folder: Path
    base: str  # a folder or Hub id

    @property
    def tokenizer(self) -> str:
        """Where its tokenizer is: with the adapter if it has one of its own."""
        return str(self.folder) if any((self.folder / file).is_file() for file in _TOKENIZER) else self.base

    def hash(self, base: str) -> str:
        """SHA-256 over settings and weights of the adapter and the hash of its base."""
        files = [(self.folder / file).read_bytes() for file in (CONFIG, WEIGHTS) if (self.folder / file).is_file()]
        return hashlib.sha256(base.encode() + b"".join(hashlib.sha256(file).digest() for file in files)).hexdigest()


def find_adapter(source: str, local: bool) -> Adapter | None:
    """The adapter that a folder or Hub id is; None if it is none. A `local` search asks no network.

    Raises WinnowError if it does not say what its base is.
    """
    file = _file(source, CONFIG, local)
    if file is None:
        return None
    _file(source, WEIGHTS, local)
    for name in _TOKENIZER:
        _file(source, name, local)
    try:
        base = json.loads(file.read_text()).get("base_model_name_or_path")
    except (ValueError, AttributeError) as error:
        raise WinnowError(f"{file} of the adapter {source} is damaged ({reason(error)}); save it again.") from error
    if not isinstance(base, str) or not base:
        raise WinnowError(
            f"The adapter {source} does not say what it was trained on: write its base into base_model_name_or_path "
            f"of {file}, {_MERGED}"
        )
    # A folder of that name that holds no model is another one, which happens to be here.
    found = [str(path) for path in (Path(base), file.parent / base) if _holds_model(path)]
    if found and (Path(found[0]) / CONFIG).is_file():
        raise WinnowError(f"The base {found[0]} of the adapter {source} is an adapter itself; merge that one first.")
    return Adapter(source, file.parent, found[0] if found else base)


def _holds_model(folder: Path) -> bool:
    return (folder / "config.json").is_file() or (folder / CONFIG).is_file()


def _file(source: str, name: str, local: bool) -> Path | None:
    """A file of a folder or of a Hub repository, fetched unless `local`; None if there is none."""
    if Path(source).is_dir():
        return Path(source, name) if Path(source, name).is_file() else None
    found = cached_file(
        source,
        name,
        local_files_only=local,
        _raise_exceptions_for_gated_repo=False,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return Path(found) if found else None


def no_base(adapter: Adapter, error: WinnowError) -> WinnowError:
    """The sentence if the base of an adapter cannot be loaded."""
    return WinnowError(
        f"{adapter.name} is an adapter, and its base {printable(adapter.base)} cannot be used: {error} "
        f"Write the base's folder or Hub id into base_model_name_or_path of {adapter.folder / CONFIG}, {_MERGED}"
    )


def merge_adapter(adapter: Adapter, base: PreTrainedModel) -> PreTrainedModel:
    """The base with the adapter merged into its weights, in the base's number format.

    Raises WinnowError naming the adapter if it is of a kind that cannot be merged or does not fit the base.
    """
    config = _mergeable(adapter)
    if not (adapter.folder / WEIGHTS).is_file():
        raise WinnowError(f"The adapter {adapter.name} has no {WEIGHTS}; save it with PEFT's save_pretrained.")
    try:
        weights = load_file(adapter.folder / WEIGHTS)
        _make_room(base, weights)
        peft = get_peft_model(base, config)
        found = peft.load_adapter(str(adapter.folder), "default", torch_device="cpu")
        unfit = [*found.missing_keys, *found.unexpected_keys]
        merged: Any = None if unfit else peft.merge_and_unload(safe_merge=True)
    except Exception as error:
        raise WinnowError(
            f"The adapter {adapter.name} cannot be merged into its base {adapter.base} "
            f"({type(error).__name__}: {reason(error)}); check that this is the model it was trained on, {_MERGED}"
        ) from error
    if merged is None:
        raise WinnowError(
            f"The adapter {adapter.name} does not fit its base {adapter.base}: {len(unfit)} of its weights are missing "
            f"or have no place there ({printable(unfit[0])}, …); check that this is the model it was trained on."
        )
    return cast(PreTrainedModel, merged)


def _mergeable(adapter: Adapter) -> PeftConfig:
    """The adapter's settings. Raises WinnowError if nothing of its kind can be merged into weights."""
    try:
        config = PeftConfig.from_pretrained(str(adapter.folder))
    except Exception as error:
        raise WinnowError(
            f"{adapter.folder / CONFIG} cannot be read by this version of PEFT ({reason(error)}); merge the adapter "
            "where it was trained, and give the merged model's folder."
        ) from error
    if config.task_type not in (None, "CAUSAL_LM"):
        raise WinnowError(
            f"The adapter {adapter.name} was trained for the task {config.task_type}, and Winnow scores causal "
            "language models; choose an adapter of the task CAUSAL_LM."
        )
    if config.is_prompt_learning or config.peft_type in ("ADAPTION_PROMPT", "XLORA"):
        raise WinnowError(
            f"The adapter {adapter.name} is of the kind {config.peft_type.value}, which adds to what a model reads "
            "and cannot be merged into its weights; choose a LoRA adapter or a whole model."
        )
    config.inference_mode = True
    return config


def _make_room(base: PreTrainedModel, weights: dict[str, Tensor]) -> None:
    """Widen the base's vocabulary if the adapter was trained with new tokens and brings their embeddings."""
    table: Any = base.get_input_embeddings()
    name = next(name for name, module in base.named_modules() if module is table)
    own = weights.get(f"base_model.model.{name}.weight")
    if own is not None and len(own) > len(table.weight):
        base.resize_token_embeddings(len(own), mean_resizing=False)
