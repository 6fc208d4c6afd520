"""Models: LoRA that starts as the identity, checkpoints that come back, and small models that are made once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM

from engine.common.errors import WinnowError
from engine.config.models import ScratchModel
from engine.config.pruning import LoraSettings
from engine.data.samples import encode_rows
from engine.data.sources import read_rows
from engine.models.checkpoint import load_checkpoint, save_checkpoint
from engine.models.loading import load_model, load_tokenizer, model_facts_of, model_hash, resolve_device, resolve_dtype
from engine.models.lora import adapter_state, attach_lora, detach_lora, load_adapter
from engine.models.scratch import causal, folders
from engine.storage.workspace import Workspace
from tests.fixtures.tiny import write_rows

CPU = torch.device("cpu")
SETTINGS = ScratchModel(layers=1, width=16, heads=2, batch_size=8)
IDS = torch.tensor([[1, 2, 3, 4, 5]])


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        return model(input_ids=IDS).logits


def net() -> LlamaForCausalLM:
    return causal.build(SETTINGS, 60, 64).eval()


def test_fresh_lora_changes_nothing_and_leaves_nothing() -> None:
    """Before the first step student and base are one model; detached, the base is what it was."""
    base = net()
    before = logits(base)
    peft = attach_lora(base, LoraSettings(), seed=0)
    assert torch.equal(logits(peft), before)
    detach_lora(peft)
    assert torch.equal(logits(base), before)
    assert not any("lora" in name for name, _ in base.named_parameters())


def test_only_lora_is_trained_and_not_the_head() -> None:
    """AdamW on the LoRA parameters alone; scoring needs a plain head."""
    peft = attach_lora(net(), LoraSettings(), seed=0)
    trainable = [name for name, p in peft.named_parameters() if p.requires_grad]
    assert trainable
    assert all("lora_" in name for name in trainable)
    assert not any("lm_head" in name for name in trainable)


def test_a_checkpoint_comes_back(tmp_path: Path) -> None:
    """Weights, moments and counters: one step after loading equals one step without the break."""
    losses = []
    for broken in (False, True):
        peft = attach_lora(net(), LoraSettings(dropout=0.0), seed=0)
        optimizer = torch.optim.AdamW([p for p in peft.parameters() if p.requires_grad], lr=1e-2)
        for step in range(4):
            if broken and step == 2:
                save_checkpoint(tmp_path / "state.safetensors", adapter_state(peft), optimizer, epoch=1, steps=2)
                peft = attach_lora(net(), LoraSettings(dropout=0.0), seed=9)
                optimizer = torch.optim.AdamW([p for p in peft.parameters() if p.requires_grad], lr=1e-2)
                weights, counters = load_checkpoint(tmp_path / "state.safetensors", optimizer)
                load_adapter(peft, weights)
                assert counters == {"epoch": 1, "steps": 2}
            loss = peft(input_ids=IDS, labels=IDS).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses.append(peft(input_ids=IDS, labels=IDS).loss.item())
    assert losses[0] == losses[1]


def test_a_damaged_checkpoint_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    path.write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00torn")
    with pytest.raises(WinnowError, match=r"state\.safetensors is damaged"):
        load_checkpoint(path)


def make(workspace: Workspace, rows: Path, tick: object = None) -> tuple[Path, float | None]:
    data = read_rows(str(rows))
    texts = [row["instruction"] + row["response"] for row in data.rows]
    folder = causal.tokenizer_folder(workspace, lambda: texts, data.fingerprint, 300)
    tokenizer = load_tokenizer(str(folder))
    samples = list(encode_rows(data.rows, "plain", tokenizer, 64))
    model = causal.model_folder(workspace, "tiny", SETTINGS, folder, 64, data.fingerprint)
    silent = tick or (lambda done, total: None)
    return model, causal.make(workspace, model, SETTINGS, tokenizer, samples, 64, CPU, silent)  # type: ignore[arg-type]


def test_a_scratch_model_is_made_once(workspace: Workspace, tmp_path: Path) -> None:
    """A second run with the same settings finds it; it loads like any other model."""
    rows = write_rows(tmp_path / "rows.jsonl", 120)
    folder, loss = make(workspace, rows)
    assert loss is not None
    assert make(workspace, rows) == (folder, None)
    loaded = load_model("scratch:tiny", str(folder), torch.float32, CPU)
    assert loaded.parameters == model_facts_of(str(folder))["parameters"]
    assert loaded.hash == model_hash(str(folder))
    assert not any(p.requires_grad for p in loaded.model.parameters())


def test_a_scratch_model_killed_while_it_is_made_goes_on(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends with the weights of one that was left alone."""
    monkeypatch.setattr(folders, "SAVE_SECONDS", 0.0)
    rows = write_rows(tmp_path / "rows.jsonl", 120)

    class Killed(BaseException):
        pass

    def kill_at(step: int) -> object:
        def tick(done: int, _total: int) -> None:
            if done == step:
                raise Killed

        return tick

    for step in (3, 7):
        with pytest.raises(Killed):
            make(workspace, rows, kill_at(step))
    folder, _ = make(workspace, rows)
    other = Workspace(tmp_path / "other").create()
    quiet, _ = make(other, rows)
    assert model_hash(str(folder)) == model_hash(str(quiet))
    assert not list(workspace.models.glob("*.training.*"))


def test_a_damaged_checkpoint_means_a_new_start(workspace: Workspace, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", 120)
    folder, _ = make(workspace, rows)
    hash_before = model_hash(str(folder))
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    folder.with_name(f"{folder.name}.training.safetensors").write_bytes(b"torn")
    again, loss = make(workspace, rows)
    assert loss is not None
    assert model_hash(str(again)) == hash_before


def test_a_folder_without_a_model_is_reported(tmp_path: Path) -> None:
    with pytest.raises(WinnowError, match="holds no tokenizer that can be loaded"):
        load_tokenizer(str(tmp_path))
    with pytest.raises(WinnowError, match="holds no model that can be loaded"):
        load_model("mine", str(tmp_path), torch.float32, CPU)


def test_no_pickled_weights_are_read(tmp_path: Path) -> None:
    """Safetensors only: a folder with a pickle is refused, whatever is in it."""
    net().save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    torch.save(net().state_dict(), tmp_path / "pytorch_model.bin")
    weights.unlink()
    with pytest.raises(WinnowError, match="safetensors"):
        load_model("pickled", str(tmp_path), torch.float32, CPU)


def test_automatic_choices_on_a_cpu() -> None:
    """float32 without a GPU; a name that is given is used."""
    assert resolve_dtype("auto", CPU) is torch.float32
    assert resolve_dtype("bfloat16", CPU) is torch.bfloat16
    assert resolve_device("cpu") == CPU


@pytest.mark.parametrize("source", ["x" * 5000, "folder/" + "x" * 5000, "x" * 5000 + ".gguf", "a\x1b[2Jb/c"])
def test_a_model_that_nothing_can_be_called(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that the system refuses is quoted in short, without what acts on a terminal."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for load in (load_tokenizer, model_facts_of):
        with pytest.raises(WinnowError) as caught:
            load(source)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 700
