"""Views of images: fixed, so that a teacher's cached outputs are those of what the student sees."""

from __future__ import annotations

import numpy as np
import torch

from engine.training.views import make_samples

CPU = torch.device("cpu")
IMAGES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (5, 2, 8, 8), dtype=np.uint8))


def test_the_first_view_is_the_image() -> None:
    """Scores and measurements look at samples as they are."""
    samples = make_samples(IMAGES, None, IMAGES, views=3, mirror=True, device=CPU)
    assert samples.views == 3
    (seen,) = samples.take(torch.arange(5))
    assert samples.mean is not None
    assert samples.std is not None
    torch.testing.assert_close(seen * samples.std + samples.mean, IMAGES.float())


def test_another_view_moves_and_mirrors_each_image_in_its_own_way() -> None:
    """Against the same moves made one pixel at a time."""
    samples = make_samples(IMAGES, None, IMAGES, views=4, mirror=True, seed=1, device=CPU)
    assert samples.shifts is not None
    assert samples.flips is not None
    assert samples.mean is not None
    assert samples.std is not None
    assert samples.flips[1:].any()
    assert samples.shifts[1:].any()
    for view in range(1, 4):
        (seen,) = samples.take(torch.tensor([[3, 0], [1, 4]]), view)
        pixels = (seen * samples.std + samples.mean).round()
        for place, image in (((0, 0), 3), ((0, 1), 0), ((1, 0), 1), ((1, 1), 4)):
            down, right = samples.shifts[view, image].tolist()
            for y in range(8):
                for x in range(8):
                    column = 7 - x if samples.flips[view, image] else x
                    source = IMAGES[image, :, min(max(y + down, 0), 7), min(max(column + right, 0), 7)]
                    assert torch.equal(pixels[place][:, y, x], source.float())


def test_moments_are_those_of_the_training_samples() -> None:
    """The test set is standardised by what training knows, and a constant column does no harm."""
    train = torch.tensor([[1.0, 5.0], [3.0, 5.0]])
    (seen,) = make_samples(torch.tensor([[2.0, 5.0]]), None, train, device=CPU).take(torch.tensor([0]))
    torch.testing.assert_close(seen, torch.zeros(1, 2))


def test_tokens_are_taken_with_their_mask() -> None:
    """Text has no views; a network reads ids and mask."""
    ids, mask = torch.arange(6).view(2, 3), torch.ones(2, 3, dtype=torch.long)
    samples = make_samples(ids, mask, ids, views=4, device=CPU)
    assert samples.views == 1
    assert [tensor.tolist() for tensor in samples.take(torch.tensor([1]))] == [[[3, 4, 5]], [[1, 1, 1]]]
