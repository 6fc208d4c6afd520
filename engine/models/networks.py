"""Networks for labelled samples: small ones made here, and classifiers of transformers.

Each has `features(*inputs)`, the embedding before the last layer, and `forward(*inputs)`, the logits (or the predicted
number). No layer of the networks made here looks at other samples of the batch, so that several can be run as one by
torch.func.vmap; `stacks` is whether a network can be.
"""

from __future__ import annotations

import itertools
import logging
import re
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForImageClassification, AutoModelForSequenceClassification

from engine.common.errors import WinnowError
from engine.config.data import Task
from engine.config.models import NetworkSettings
from engine.models.loading import explain_load_errors
from engine.models.padding import Padding, padding_of
from engine.models.positions import positions_of
from engine.models.weights import require_whole

log = logging.getLogger(__name__)

BUILT_IN = ("mlp", "cnn")
_DEFAULT_NAME = re.compile(r"LABEL_\d+")  # what transformers calls a class without a name


class Mlp(nn.Module):
    """`depth` hidden layers of `width` units."""

    stacks = True

    def __init__(self, inputs: int, outputs: int, width: int, depth: int) -> None:
        super().__init__()
        sizes = [inputs] + [width] * depth
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        self.head = nn.Linear(width, outputs)

    def features(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for layer in self.hidden:
            x = F.relu(layer(x))
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


class Cnn(nn.Module):
    """A first convolution and `depth` residual blocks, each halving the sides and doubling the channels."""

    stacks = True

    def __init__(self, channels: int, outputs: int, width: int, depth: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 3, padding=1)
        widths = [width * 2**i for i in range(depth + 1)]
        self.blocks = nn.ModuleList(Block(a, b) for a, b in itertools.pairwise(widths))
        self.head = nn.Linear(widths[-1], outputs)

    def features(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        for block in self.blocks:
            x = block(x)
        return x.mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


class Block(nn.Module):
    """Two convolutions beside a shortcut, at half the resolution. Group norm, as batch norm would mix samples."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False)
        self.second = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(before, after, 1, stride=2, bias=False)
        groups = 8 if after % 8 == 0 else 1
        self.norm_first, self.norm_second = nn.GroupNorm(groups, after), nn.GroupNorm(groups, after)

    def forward(self, x: Tensor) -> Tensor:
        inside = F.relu(self.norm_first(self.first(x)))
        return F.relu(self.norm_second(self.second(inside)) + self.shortcut(x))


class Classifier(nn.Module):
    """A classifier of transformers on (ids, mask), or on pixels scaled to the size it was made for.

    `padding` is how it has to be padded if it reads texts; see `padding_of`.
    """

    stacks = False  # transformers looks at the values of a mask, which vmap does not have

    def __init__(self, model: nn.Module, side: int, padding: Padding | None) -> None:
        super().__init__()
        self.model, self.side, self.padding = model, side, padding

    def _run(self, inputs: tuple[Tensor, ...], hidden: bool) -> tuple[Tensor, Tensor | None]:
        if self.padding:
            ids, mask = self.padding.arrange(*inputs)
            out = self.model(input_ids=ids, attention_mask=mask, output_hidden_states=hidden)
        else:
            pixels = inputs[0].expand(-1, 3, -1, -1)
            if pixels.shape[-1] != self.side:
                pixels = F.interpolate(pixels, (self.side, self.side), mode="bilinear", align_corners=False)
            out = self.model(pixel_values=pixels, output_hidden_states=hidden)
        if not hidden:
            return out.logits, None
        encoded = getattr(out, "encoder_last_hidden_state", None)  # of models that have a decoder as well
        return out.logits, out.hidden_states[-1] if encoded is None else encoded

    def features(self, *inputs: Tensor) -> Tensor:
        last = self._run(inputs, hidden=True)[1]
        assert last is not None
        if self.padding:  # the mean over real tokens, whatever pooling the head prefers
            mask = self.padding.arrange(*inputs)[1][..., None].to(last.dtype)
            return (last * mask).sum(1) / mask.sum(1).clamp(min=1)
        return last.mean((2, 3)) if last.dim() == 4 else last.mean(1)

    def forward(self, *inputs: Tensor) -> Tensor:
        return self._run(inputs, hidden=False)[0]


def make_network(settings: NetworkSettings, task: Task, shape: tuple[int, ...], outputs: int, seed: int) -> nn.Module:
    """A network for samples of `shape` with `outputs` logits; its random weights depend on `seed` alone.

    Raises WinnowError naming the model if it does not fit the task or cannot be loaded.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if settings.model not in BUILT_IN:
            return _classifier(settings, task, outputs)
        if settings.model == "mlp" and task != "text":
            return Mlp(int(torch.Size(shape).numel()), outputs, settings.width, settings.depth)
        if settings.model == "cnn" and task == "images":
            if shape[-1] < 2**settings.depth:
                raise WinnowError(
                    f"A cnn of depth {settings.depth} halves images {settings.depth} times, and these have a side of "
                    f"{shape[-1]}; lower network.depth."
                )
            return Cnn(shape[0], outputs, settings.width, settings.depth)
    fitting = "a Hub id or folder of a text classifier" if task == "text" else "mlp"
    raise WinnowError(f"network.model {settings.model} cannot read {task}; choose {fitting}.")


def _classifier(settings: NetworkSettings, task: Task, outputs: int) -> nn.Module:
    if task == "numbers":
        raise WinnowError(f"network.model {settings.model} reads text or images, not numbers; choose mlp.")
    auto = AutoModelForSequenceClassification if task == "text" else AutoModelForImageClassification
    with explain_load_errors("model", settings.model) as options:
        config = AutoConfig.from_pretrained(settings.model, **options)
        named = any(not _DEFAULT_NAME.fullmatch(str(name)) for name in config.id2label.values())
        if settings.pretrained and named and len(config.id2label) != outputs:
            log.warning(
                "%s has %d classes and the data has %d, so its last layer is initialized at random and trained here",
                settings.model,
                len(config.id2label),
                outputs,
            )
        if settings.pretrained:
            model, loaded = auto.from_pretrained(
                settings.model,
                num_labels=outputs,
                ignore_mismatched_sizes=True,
                use_safetensors=True,
                output_loading_info=True,
                **options,
            )
            require_whole(settings.model, model, loaded, fresh_head=True)
        else:
            config.num_labels = outputs
            model = auto.from_config(config)
    size = getattr(model.config, "image_size", 224)
    side = size if isinstance(size, int) else size[0]
    return Classifier(model, side, padding_of(model, settings.model) if task == "text" else None)


def longest_text(source: str) -> int | None:
    """The most tokens that the text classifier of a Hub id or folder can read; None if nothing limits it.

    Raises WinnowError naming the source if there is no such model.
    """
    with explain_load_errors("model", source) as options:
        return positions_of(AutoConfig.from_pretrained(source, **options))


def token_table(model: Any) -> nn.Embedding | None:
    """The token embeddings of a model of transformers; None if it has no such table."""
    try:
        table = model.get_input_embeddings()
    except (NotImplementedError, AttributeError):
        return None
    return table if isinstance(table, nn.Embedding) else None


def require_known_tokens(source: str, model: Any, ids: NDArray[np.integer]) -> None:
    """Raises WinnowError naming the source if the table of token embeddings has no row for one of these ids."""
    table, largest = token_table(model), int(ids.max(initial=0))
    if table is not None and largest >= table.num_embeddings:
        raise WinnowError(
            f"The tokenizer of {source} writes token {largest:,}, and its model has embeddings for 0 to "
            f"{table.num_embeddings - 1:,}; use the tokenizer that belongs to the model, or resize the embeddings."
        )


def parameters_of(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())
