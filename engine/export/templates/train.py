"""Trains a fresh student on the distilled set beside this file: `python train.py`.

Needs torch, safetensors and, for texts, transformers. manifest.json says how; student.py has the network.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from student import forward, make_student

FOLDER = Path(__file__).resolve().parent


def loss_of(model: torch.nn.Module, data: dict) -> torch.Tensor:
    """-Σ_c y_c log p_c, mean over the inputs; plus, if attention has labels, its KL from them."""
    logits, attention = forward(model, data["inputs"], "attention" in data)
    loss = -(data["labels"] * logits.log_softmax(-1)).sum(-1).mean()
    if attention is not None:
        wanted = data["attention"]
        loss = loss + torch.xlogy(wanted, wanted / attention.clamp(min=1e-12)).sum(-1).mean()
    return loss


def train(model: torch.nn.Module, data: dict, optimizer: str) -> None:
    """One step for each learned learning rate, with the optimizer the set was learned for: sgd, momentum or adam."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    moments = [(torch.zeros_like(weight), torch.zeros_like(weight)) for weight in weights]
    for step, rate in enumerate(data["rates"].tolist(), 1):
        loss = loss_of(model, data)
        print(f"step {step}: loss {loss.item():.4f}")
        gradients = torch.autograd.grad(loss, weights, materialize_grads=True)
        for weight, (m, v), gradient in zip(weights, moments, gradients, strict=True):
            direction = gradient
            if optimizer == "momentum":
                direction = m.mul_(0.9).add_(gradient)
            elif optimizer == "adam":  # torch.optim.Adam adds its epsilon outside the root
                m.lerp_(gradient, 0.1)
                v.lerp_(gradient * gradient, 0.001)
                direction = m / (1 - 0.9**step) / (v / (1 - 0.999**step) + 1e-12).sqrt()
            weight.data -= rate * direction


def main() -> torch.nn.Module:
    training = json.loads((FOLDER / "manifest.json").read_text(encoding="utf-8"))["training"]
    model = make_student(training, seed=0)
    train(model, load_file(FOLDER / "distilled.safetensors"), training["optimizer"])
    return model


if __name__ == "__main__":
    main()
