"""Networks of a grid: fresh weights by seed, no sample feels another, and one sentence for what does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import ViTConfig, ViTForImageClassification

from engine.common.errors import WinnowError
from engine.config.data import Task
from engine.config.models import NetworkSettings
from engine.models.networks import Classifier, make_network, parameters_of
from engine.models.tensor_cache import has_tensors, load_tensors, save_tensors
from engine.storage.workspace import Workspace

IMAGE = (3, 16, 16)


@pytest.mark.parametrize("settings", [NetworkSettings(width=8), NetworkSettings(model="cnn", width=8)])
def test_a_sample_is_answered_alone(settings: NetworkSettings) -> None:
    """What a network says of a sample does not depend on the rest of the batch, or stacking would change it."""
    network = make_network(settings, "images", IMAGE, 5, seed=0)
    batch = torch.randn(6, *IMAGE, generator=torch.Generator().manual_seed(0))
    together = network(batch)
    assert together.shape == (6, 5)
    torch.testing.assert_close(together[2:3], network(batch[2:3]), rtol=1e-4, atol=1e-5)
    features = network.features(batch)
    torch.testing.assert_close(network.head(features), together)


def test_fresh_weights_depend_on_the_seed_alone() -> None:
    """Two students of one seed start equal, whatever has been drawn before; of two seeds, apart."""
    first = make_network(NetworkSettings(), "images", IMAGE, 5, seed=1)
    torch.rand(10)
    same, other = (make_network(NetworkSettings(), "images", IMAGE, 5, seed=seed) for seed in (1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), same.parameters(), strict=True))
    assert not torch.equal(next(first.parameters()), next(other.parameters()))


def test_drawing_weights_leaves_the_random_state_alone() -> None:
    """Making a network must not change what others draw afterwards."""
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    make_network(NetworkSettings(), "images", IMAGE, 5, seed=1)
    assert torch.equal(torch.rand(3), expected)


def test_a_wider_network_has_more_weights() -> None:
    """The sizes of teachers shown on the page are those of the networks."""
    small, large = (make_network(NetworkSettings(width=width, depth=1), "numbers", (4,), 2, 0) for width in (3, 6))
    assert (parameters_of(small), parameters_of(large)) == (4 * 3 + 3 + 3 * 2 + 2, 4 * 6 + 6 + 6 * 2 + 2)


@pytest.mark.parametrize(
    ("settings", "task", "sentence"),
    [
        (NetworkSettings(model="cnn"), "numbers", "network.model cnn cannot read numbers; choose mlp."),
        (NetworkSettings(model="cnn"), "text", "network.model cnn cannot read text"),
        (NetworkSettings(model="some/model"), "numbers", "reads text or images, not numbers; choose mlp."),
        (NetworkSettings(model="cnn", depth=5), "images", "these have a side of 16; lower network.depth."),
    ],
)
def test_what_does_not_fit_is_refused(settings: NetworkSettings, task: Task, sentence: str) -> None:
    """One sentence with the key to change, before anything is trained."""
    with pytest.raises(WinnowError, match="network") as caught:
        make_network(settings, task, IMAGE if task == "images" else (4,), 2, 0)
    assert sentence in str(caught.value)


def test_a_vision_transformer_from_a_folder(tmp_path: Path) -> None:
    """Pixels are scaled to the side it was made for, one channel becomes three, and its head is drawn by seed."""
    config = ViTConfig(
        image_size=32, patch_size=8, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    ViTForImageClassification(config).save_pretrained(tmp_path)
    settings = NetworkSettings(model=str(tmp_path))
    network = make_network(settings, "images", (1, 8, 8), 7, seed=0)
    assert isinstance(network, Classifier)
    network.eval()
    pixels = torch.randn(2, 1, 8, 8)
    assert network(pixels).shape == (2, 7)
    assert network.features(pixels).shape == (2, 16)
    body = {name: value for name, value in network.state_dict().items() if "classifier" not in name}
    fresh = make_network(settings.model_copy(update={"pretrained": False}), "images", (1, 8, 8), 7, seed=0)
    again = make_network(settings, "images", (1, 8, 8), 7, seed=3).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in body.items())
    assert any(not torch.equal(value, fresh.state_dict()[name]) for name, value in body.items())


def test_a_teacher_of_other_classes_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its head is initialized at random, which the log of the run has; a head that fits is kept without a message."""
    config = ViTConfig(
        image_size=8, patch_size=4, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    config.id2label = {0: "cat", 1: "dog", 2: "emu"}
    ViTForImageClassification(config).save_pretrained(tmp_path)
    settings = NetworkSettings(model=str(tmp_path))
    three = make_network(settings, "images", (3, 8, 8), 3, seed=0)
    again = make_network(settings, "images", (3, 8, 8), 3, seed=1)
    assert torch.equal(three.model.get_parameter("classifier.weight"), again.model.get_parameter("classifier.weight"))
    assert not caplog.messages
    five = make_network(settings, "images", (3, 8, 8), 5, seed=0)
    assert five.model.get_parameter("classifier.weight").shape == (5, 8)
    assert [m for m in caplog.messages if m.startswith(f"{tmp_path} has 3 classes and the data has 5")]


def test_cached_tensors_come_back(workspace: Workspace) -> None:
    """Cached logits are found again with their facts; a damaged file counts as missing and is made again."""
    save_tensors(workspace, "key", {"outputs": torch.arange(6.0).view(2, 3)}, {"seconds": 1.5})
    assert has_tensors(workspace, "key")
    found = load_tensors(workspace, "key")
    assert found is not None
    assert torch.equal(found.tensors["outputs"], torch.arange(6.0).view(2, 3))
    assert found.facts == {"seconds": 1.5}
    path = workspace.outputs / "key.safetensors"
    assert found.size == path.stat().st_size
    path.write_bytes(path.read_bytes()[:40])
    assert load_tensors(workspace, "key") is None
    assert not has_tensors(workspace, "key")
    assert load_tensors(workspace, "other") is None
