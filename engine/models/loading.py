"""Tokenizers and causal language models from the Hub, a local folder, an adapter or a GGUF file: safetensors or GGUF
only, never remote code."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx2
import torch
from huggingface_hub import HfApi
from huggingface_hub.errors import GatedRepoError, HFValidationError, OfflineModeIsEnabled, RepositoryNotFoundError
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from engine.common.errors import WinnowError
from engine.common.paths import is_here
from engine.common.text import printable, reason
from engine.config.models import exit_layer, scratch_name
from engine.models.adapters import Adapter, find_adapter, merge_adapter, no_base
from engine.models.exits import OF_TEACHER, cut_at, exit_of
from engine.models.gguf import gguf_file, unpacked
from engine.models.placement import WHOLE, Placement
from engine.models.positions import positions_of
from engine.models.weights import require_whole

log = logging.getLogger(__name__)

ANSWER_SECONDS = 10.0  # how long the Hub may take to answer before it counts as out of reach


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to score with, and what its provenance needs."""

    name: str  # as the recipe writes it
    source: str  # the folder, file or Hub id it was read from
    model: PreTrainedModel
    hash: str  # see model_hash
    parameters: int

    @property
    def context(self) -> int | None:
        """The longest sequence it was built for, in tokens; None if its configuration does not say."""
        return positions_of(self.model.config)


@dataclass(frozen=True)
class _Origin:
    """Where the parts of a model are."""

    source: str  # as the recipe writes it
    weights: str  # folder or Hub id
    tokenizer: str
    gguf: Path | None = None
    adapter: Adapter | None = None

    @property
    def file(self) -> dict[str, str]:
        """What `from_pretrained` has to be told beside the folder."""
        return {"gguf_file": self.gguf.name} if self.gguf else {}

    @property
    def ready_made(self) -> str:
        """What it is, if it is loaded as it is; "" for whole weights."""
        return "an adapter" if self.adapter else "a GGUF file" if self.gguf else ""

    def hash(self) -> str:
        """See `model_hash`."""
        if self.adapter:
            return self.adapter.hash(_weights_hash(self.weights))
        return _file_hash([self.gguf]) if self.gguf else _weights_hash(self.weights)


def resolve_device(name: str = "auto") -> torch.device:
    """`auto` is the first CUDA device if there is one, else the CPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def resolve_dtype(name: str, device: torch.device) -> torch.dtype:
    """`auto` is bfloat16 on a GPU that computes in it, else float32."""
    if name == "auto":
        name = "bfloat16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "float32"
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]


def load_tokenizer(source: str, *, ends: bool = True) -> PreTrainedTokenizerBase:
    """A fast tokenizer, with an end token if `ends`. Raises WinnowError naming the model if there is none."""
    origin = _origin(source)
    with _explained("tokenizer", origin, origin.tokenizer) as options:
        tokenizer = AutoTokenizer.from_pretrained(origin.tokenizer, **options)
    if ends and tokenizer.eos_token_id is None:
        raise WinnowError(f"The tokenizer of {source} has no end token, so Winnow cannot mark where a response ends.")
    return tokenizer


def load_model(
    name: str, source: str, dtype: torch.dtype, device: torch.device, placement: Placement = WHOLE
) -> LoadedModel:
    """A causal language model in eval mode. The last two are cached, so a second run on them starts at once.

    Raises WinnowError naming the model if it cannot be loaded, or not in this placement.
    """
    loaded = _load(name, source, dtype, device, placement)
    loaded.model.eval()
    return loaded


def load_student(
    name: str, source: str, dtype: torch.dtype, device: torch.device, teacher: Callable[[], LoadedModel]
) -> LoadedModel:
    """A student as `load_model` gives it, or the exit of its `teacher`, which is loaded only then.

    Raises WinnowError as that does, or if the teacher cannot be cut there.
    """
    return exit_of(name, teacher()) if exit_layer(name) is not None else load_model(name, source, dtype, device)


@lru_cache(maxsize=2)
def _load(name: str, source: str, dtype: torch.dtype, device: torch.device, placement: Placement) -> LoadedModel:
    log.info("loading %s from %s (%s on %s%s)", name, source, dtype, device, placement.words)
    origin = _origin(source)
    placement.check(source, origin.ready_made)
    try:
        with _explained("model", origin, origin.weights) as options:
            found: Any = AutoModelForCausalLM.from_pretrained(
                origin.weights,
                dtype=dtype,
                use_safetensors=True,
                ignore_mismatched_sizes=True,  # require_whole says which
                output_loading_info=True,
                **(unpacked() if origin.gguf else {}),
                **placement.options(dtype, device),
                **options,
            )
            model, info = found
            require_whole(origin.weights if origin.adapter else name, model, info)
        if origin.adapter:
            model = merge_adapter(origin.adapter, model)
        if placement == WHOLE:
            nn.Module.to(model, device)
    except torch.OutOfMemoryError as error:
        raise WinnowError(f"{name} does not fit into the memory of {device}; choose a smaller model.") from error
    model.requires_grad_(False)
    return LoadedModel(name, source, model, placement.hash(origin.hash()), model.num_parameters())


def check_placement(source: str, placement: Placement) -> None:
    """Raises WinnowError naming the model if it cannot be placed like this here; its weights are not read."""
    placement.check(source, "" if scratch_name(source) else _origin(source).ready_made)


def empty_model(source: str, name: str = "") -> PreTrainedModel:
    """The causal language model of a source on the meta device: its modules, and no weights. It is cut if `name` says
    so, as `exit:LAYER`.

    Raises WinnowError if there is no such model or layer.
    """
    origin = _origin(source)
    with _explained("model", origin, origin.weights) as options:
        config = AutoConfig.from_pretrained(origin.weights, **options)
        with torch.device("meta"):
            model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    if exit_layer(name) is not None:
        cut_at(name, source, model)
    return model


def model_facts_of(source: str, name: str = "") -> dict[str, Any]:
    """Name, origin, number of parameters, width and context of a model from its configuration, without its weights;
    of the part of it that `name` says, as `exit:LAYER`.

    Raises WinnowError if there is no such model or layer.
    """
    model = empty_model(source, name)
    origin = "a folder on this machine" if Path(source).exists() else "the Hugging Face Hub"
    return {
        "name": name or source,
        "origin": OF_TEACHER if exit_layer(name) is not None else origin,
        "parameters": sum(p.numel() for p in model.parameters()),
        "width": model.config.get_text_config().hidden_size,
        "context": positions_of(model.config),
    }


def model_hash(source: str) -> str:
    """SHA-256 over configuration and weights of a local folder, over a GGUF file, or over an adapter and its base;
    `hub:` and the revision for a Hub model."""
    return _origin(source).hash()


def _weights_hash(source: str) -> str:
    folder = Path(source)
    if not folder.is_dir():
        revision = getattr(AutoConfig.from_pretrained(source, **_options(source)), "_commit_hash", None)
        return f"hub:{revision}"
    return _file_hash(sorted([*folder.glob("*.safetensors"), folder / "config.json"]))


def _file_hash(files: Sequence[Path]) -> str:
    total = hashlib.sha256()
    for path in files:
        with path.open("rb") as handle:
            total.update(path.name.encode() + hashlib.file_digest(handle, "sha256").digest())
    return total.hexdigest()


def _origin(source: str) -> _Origin:
    """Raises WinnowError if a GGUF file is not there, or an adapter does not say what it belongs to."""
    if file := gguf_file(source):
        return _Origin(source, str(file.parent), str(file.parent), gguf=file)
    with explain_load_errors("model", source) as options:
        adapter = find_adapter(source, options["local_files_only"])
    if adapter is None:
        return _Origin(source, source, source)
    return _Origin(source, adapter.base, adapter.tokenizer, adapter=adapter)


@contextmanager
def _explained(what: str, origin: _Origin, part: str) -> Iterator[dict[str, Any]]:
    """As explain_load_errors, for a part of a model that consists of several."""
    try:
        with explain_load_errors(what, str(origin.gguf or part)) as options:
            yield options | origin.file
    except WinnowError as error:
        if origin.adapter and part == origin.adapter.base:
            raise no_base(origin.adapter, error) from error
        raise


@contextmanager
def explain_load_errors(what: str, source: str) -> Iterator[dict[str, bool]]:
    """Yields what to pass to `from_pretrained`; any error inside becomes one sentence naming the `what` of `source`."""
    library = logging.getLogger("transformers.modeling_utils")
    library.addFilter(_no_report)
    try:
        yield _options(source)
    except WinnowError:
        raise
    except Exception as error:
        raise _load_error(what, source, error) from error
    finally:
        library.removeFilter(_no_report)


def _no_report(record: logging.LogRecord) -> bool:
    """Keeps the library's table of keys out of the log: `require_whole` judges it, and says it in a sentence."""
    return "LOAD REPORT" not in str(record.msg)


def _options(source: str) -> dict[str, bool]:
    """How `from_pretrained` may look for a source. The Hub is asked first because its answer takes a second, while a
    library that finds no network retries for half a minute.

    Raises WinnowError if there is no such model.
    """
    here = {"trust_remote_code": False, "local_files_only": True}
    if is_here(source):
        return here
    try:
        HfApi().model_info(source, timeout=ANSWER_SECONDS)
    except (httpx2.TransportError, OfflineModeIsEnabled):
        return here  # no network: a copy in the local cache will do
    except GatedRepoError:
        return here | {"local_files_only": False}  # listed, and loading tells whether this account may read it
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise WinnowError(
            f"There is no folder and no public Hub model called {printable(source)}; check the name, "
            "or log in with `hf auth login` if it is private."
        ) from error
    return here | {"local_files_only": False}


def _load_error(what: str, source: str, error: Exception) -> WinnowError:
    if is_here(source) and Path(source).is_file():
        return WinnowError(
            f"The file {source} holds no {what} that can be loaded ({type(error).__name__}: {reason(error)}); "
            "it needs to be a GGUF file of a causal language model that transformers can read."
        )
    if is_here(source):
        return WinnowError(
            f"The folder {source} holds no {what} that can be loaded ({type(error).__name__}: {reason(error)}); "
            "it needs a config.json, tokenizer files and weights as safetensors."
        )
    return WinnowError(
        f"The {what} of {printable(source)} cannot be loaded ({reason(error)}): it is not a local folder, and the Hub "
        "lacks it or cannot be reached; connect to the network once, log in with `hf auth login`, or give a local "
        "folder."
    )
