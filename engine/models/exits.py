"""A student that is its teacher cut short: `models.student = "exit:LAYER"`.

The hidden states after LAYER layers go through the teacher's own last norm and head, as in the early exits of Elbayad
et al. 2020, "Depth-Adaptive Transformer", and Elhoushi et al. 2024, "LayerSkip". The student shares every weight with
the teacher, so no second model is in memory.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from torch import nn
from transformers import PreTrainedModel

from engine.common.errors import WinnowError
from engine.common.text import printable
from engine.config.models import ScratchModel, exit_layer

if TYPE_CHECKING:
    from engine.models.loading import LoadedModel

OF_TEACHER = "layers of the teacher, with its weights"

_cut: WeakKeyDictionary[nn.Module, dict[int, LoadedModel]] = WeakKeyDictionary()  # students, by teacher and layer


def exit_of(student: str, teacher: LoadedModel) -> LoadedModel:
    """The student that `exit:LAYER` is, in eval mode and on the teacher's weights; the same object each time.

    Its modules are its own, so LoRA on it changes nothing in the teacher. Raises WinnowError naming the teacher if it
    has no such layer, or its layers cannot be found.
    """
    model = teacher.model
    layer = checked_layer(student, teacher.name, len(_layers_of(model)[1]))
    known = _cut.setdefault(model, {})
    if layer not in known:
        weights = {id(tensor): tensor for tensor in chain(model.parameters(), model.buffers())}
        own = copy.deepcopy(model, weights)
        cut(own, layer)
        own.name_or_path = own.config.name_or_path = f"{student} of {teacher.name}"
        known[layer] = replace(
            teacher,
            name=student,
            model=own.eval(),
            hash=f"{teacher.hash}:exit:{layer}",
            parameters=own.num_parameters(),
        )
    return known[layer]


def cut_at(student: str, teacher: str, model: PreTrainedModel) -> None:
    """Cut a teacher where `exit:LAYER` says, in place. Raises WinnowError as `exit_of` does."""
    cut(model, checked_layer(student, teacher, len(_layers_of(model)[1])))


def cut(model: PreTrainedModel, layer: int) -> None:
    """Leave the first `layer` layers of a model, in place, and let its configuration say so."""
    name, layers = _layers_of(model)
    config = model.config.get_text_config()
    for key, value in list(vars(config).items()):
        if isinstance(value, list | tuple) and "layer" in key and len(value) == len(layers):  # of each layer its kind
            setattr(config, key, value[:layer])
    config.num_hidden_layers = layer
    setattr(model.get_decoder(), name, layers[:layer])


def scratch_exit(student: str, teacher: str, settings: ScratchModel) -> ScratchModel:
    """What is left of a teacher made from scratch if a student is `exit:LAYER`, the teacher itself if it is none.

    Raises WinnowError if it has no such layer.
    """
    if exit_layer(student) is None:
        return settings
    return settings.model_copy(update={"layers": checked_layer(student, teacher, settings.layers)})


def checked_layer(student: str, teacher: str, layers: int) -> int:
    """LAYER of `exit:LAYER` as a number. Raises WinnowError if a teacher of so many layers cannot be cut there."""
    text = exit_layer(student) or ""
    if text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) < layers:
        return int(text)
    if layers == 1:
        raise WinnowError(
            f"models.student is {printable(student)}, and the teacher {teacher} has only 1 layer, so there is nothing "
            "to cut; choose another pair."
        )
    raise WinnowError(
        f"models.student is {printable(student)}, and the teacher {teacher} has {layers} layers: write exit:LAYER "
        f"with a whole number from 1 to {layers - 1}."
    )


def _layers_of(model: PreTrainedModel) -> tuple[str, nn.ModuleList]:
    """The list of a model's layers, and its name in the decoder."""
    count = model.config.get_text_config().num_hidden_layers
    found = [
        (name, child)
        for name, child in model.get_decoder().named_children()
        if isinstance(child, nn.ModuleList) and len(child) == count
    ]
    if len(found) != 1:
        raise WinnowError(
            f"The layers of {model.name_or_path or type(model).__name__} are not one list of {count}, so Winnow does "
            "not know how to cut it; choose another student than exit:LAYER."
        )
    return found[0]
