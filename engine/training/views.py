"""Samples as tensors that stay on the device, and the fixed random views of images.

A cached teacher output is right only for the exact view it was computed on. So an image has a fixed number of views
(view 0 is the image itself), each epoch shows the next one, and the teacher's outputs are computed once per view.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SHIFT = 8  # an image is moved by up to a SHIFT-th of its side


@dataclass(frozen=True)
class Samples:
    """n samples on one device.

    `values` (n, ...) are images as bytes (n, C, H, W), numbers as floats (n, d), or tokens as ids (n, L) with
    their `mask`. Images and numbers are standardised by `mean` and `std` as they are taken.
    """

    values: Tensor
    mask: Tensor | None
    mean: Tensor | None
    std: Tensor | None
    shifts: Tensor | None  # (views, n, 2): rows and columns to move by
    flips: Tensor | None  # (views, n)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def views(self) -> int:
        return 1 if self.shifts is None else len(self.shifts)

    def take(self, index: Tensor, view: int = 0) -> tuple[Tensor, ...]:
        """What a network reads of the samples at `index` (any shape), seen by one view: arguments of that shape."""
        if self.mask is not None:
            return self.values[index], self.mask[index]
        if self.mean is None or self.std is None:
            return (self.values[index],)
        values = self.values[index] if view == 0 else self._moved(index, view)
        return ((values.to(self.mean.dtype) - self.mean) / self.std,)

    def _moved(self, index: Tensor, view: int) -> Tensor:
        assert self.shifts is not None
        assert self.flips is not None
        channels, height, width = self.values.shape[1:]
        device = self.values.device
        moves = self.shifts[view][index]
        rows = (torch.arange(height, device=device) + moves[..., :1]).clamp(0, height - 1)
        columns = torch.arange(width, device=device).expand(*index.shape, width)
        columns = torch.where(self.flips[view][index][..., None], width - 1 - columns, columns)
        columns = (columns + moves[..., 1:]).clamp(0, width - 1)
        channel = torch.arange(channels, device=device)[:, None, None]
        return self.values[index[..., None, None, None], channel, rows[..., None, :, None], columns[..., None, None, :]]


def make_samples(
    values: Tensor,
    mask: Tensor | None,
    reference: Tensor,
    *,
    views: int = 1,
    mirror: bool = False,
    seed: int = 0,
    device: torch.device,
) -> Samples:
    """Put samples on a device. `reference` are the training values: mean and deviation are theirs alone."""
    values = values.to(device)
    if mask is not None:
        return Samples(values, mask.to(device), None, None, None, None)
    mean, std = _moments(reference)
    shifts = flips = None
    if values.dim() == 4 and views > 1:
        generator = torch.Generator().manual_seed(seed)
        most = max(1, values.shape[-1] // SHIFT)
        shifts = torch.randint(-most, most + 1, (views, len(values), 2), generator=generator)
        flips = (torch.rand(views, len(values), generator=generator) < 0.5) & mirror
        shifts[0], flips[0] = 0, False
        shifts, flips = shifts.to(device), flips.to(device)
    return Samples(values, None, mean.to(device), std.to(device), shifts, flips)


def _moments(reference: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation: of each channel of images (C, 1, 1), of each of d numbers (d,)."""
    over = (0, 2, 3) if reference.dim() == 4 else (0,)
    # Summed over at most 10,000 samples: enough for both, and no float copy of a large set.
    some = reference[:10_000].double()
    mean, std = some.mean(over), some.std(over).clamp(min=1e-6)
    shape = (-1, 1, 1) if reference.dim() == 4 else (-1,)
    return mean.float().view(shape), std.float().view(shape)
