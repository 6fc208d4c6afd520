"""The student of a distilled set of images: a fresh network, and its logits.

Pixels are standardised with `mean` and `std` of distilled.safetensors, and so must be the images it is tested on.
"""

import itertools

import torch
import torch.nn.functional as F
from torch import nn


def make_student(training: dict, seed: int) -> nn.Module:
    """The network of the recipe, its weights drawn by `seed`; of a pretrained one only the head is fresh."""
    torch.manual_seed(seed)
    network, classes = training["network"], training["classes"]
    channels, *sides = training["shape"]
    if network["model"] == "mlp":
        model = Mlp(channels * sides[0] * sides[1], classes, network["width"], network["depth"])
    elif network["model"] == "cnn":
        model = Cnn(channels, classes, network["width"], network["depth"])
    else:
        model = Pretrained(network["model"], classes)
    return model.eval()


def forward(model: nn.Module, inputs: torch.Tensor, attention: bool) -> tuple[torch.Tensor, None]:
    """Logits (N, C) of standardised pixels (N, channels, height, width); images have no attention labels."""
    return model(inputs), None


class Mlp(nn.Module):
    def __init__(self, inputs: int, outputs: int, width: int, depth: int) -> None:
        super().__init__()
        sizes = [inputs] + [width] * depth
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        self.head = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.flatten(1)
        for layer in self.hidden:
            x = F.relu(layer(x))
        return self.head(x)


class Cnn(nn.Module):
    def __init__(self, channels: int, outputs: int, width: int, depth: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 3, padding=1)
        widths = [width * 2**i for i in range(depth + 1)]
        self.blocks = nn.ModuleList(Block(a, b) for a, b in itertools.pairwise(widths))
        self.head = nn.Linear(widths[-1], outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.stem(x))
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((2, 3)))


class Block(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False)
        self.second = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(before, after, 1, stride=2, bias=False)
        groups = 8 if after % 8 == 0 else 1
        self.norm_first, self.norm_second = nn.GroupNorm(groups, after), nn.GroupNorm(groups, after)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inside = F.relu(self.norm_first(self.first(x)))
        return F.relu(self.norm_second(self.second(inside)) + self.shortcut(x))


class Pretrained(nn.Module):
    """An image classifier of transformers, which reads three channels at its own size."""

    def __init__(self, name: str, classes: int) -> None:
        super().__init__()
        from transformers import AutoModelForImageClassification

        self.model = AutoModelForImageClassification.from_pretrained(
            name, num_labels=classes, ignore_mismatched_sizes=True, attn_implementation="eager"
        )
        size = getattr(self.model.config, "image_size", 224)
        self.side = size if isinstance(size, int) else size[0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.expand(-1, 3, -1, -1)
        if x.shape[-1] != self.side:
            x = F.interpolate(x, (self.side, self.side), mode="bilinear", align_corners=False)
        return self.model(pixel_values=x).logits
