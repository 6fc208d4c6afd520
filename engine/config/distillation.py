"""Recipes for dataset distillation: a few synthetic inputs per class, and what they are compared with.

A set is one distillation: of a task, for a student, with so many inputs per class, so many inner steps, and a seed.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from pydantic import Field, model_validator

from engine.common.choices import InnerOptimizer, LabelKind, NumberFormat, Similarity
from engine.config.base import Count, Name, Positive, Settings, check_unique
from engine.config.cluster import ClusterSettings
from engine.config.data import LabelledSettings
from engine.config.models import NetworkSettings, ScratchModel, scratch_name

METHODS = {
    "full": "all real samples",
    "embeddings": "distilled embeddings",
    "text_labels": "decoded text, learned labels",
    "text": "decoded text",
    "random": "random real samples",
    "k_center": "k-center real samples",
    "herding": "herding real samples",
}
"""What a student can be trained on. Of images "embeddings" are the learned images themselves."""

MERGED = {
    "merged_embeddings": "both distilled sets",
    "merged_text": "both decoded texts",
    "merged_random": "random real samples of both tasks",
}
"""One body with a head for each task, trained on both at once; measured on each task."""

REPLAYS = {
    "replay_none": "nothing",
    "replay_embeddings": "distilled embeddings",
    "replay_text": "decoded text",
    "replay_random": "random real samples",
}
"""What is repeated of the first task while the second is learned; measured on the first task afterwards."""

PROMPTS = {
    "prompt_none": "no example",
    "prompt_text": "decoded text",
    "prompt_random": "random real samples",
}
"""The examples a causal language model is shown before it is asked."""

MAIN, OTHER = "main", "other"  # tasks: of `data`, and of `other`


class SetKey(NamedTuple):
    """One distillation."""

    task: str  # MAIN or OTHER
    student: str  # as the recipe writes its model
    per_class: int
    inner_steps: int
    seed: int

    @property
    def name(self) -> str:
        """A file name, and the arm of its curves in `metrics`."""
        student = "".join(
            letter if letter.isalnum() else "-" for letter in self.student.rstrip("/").rsplit("/")[-1][-60:]
        )
        return f"{self.task}-{student}-k{self.per_class}-T{self.inner_steps}-s{self.seed}"


class SyntheticSettings(Settings):
    """What is learned: synthetic inputs and their labels."""

    per_class: Annotated[list[Count], Field(min_length=1)] = [1]
    """Inputs per class. Every number is a set of its own, and the first is shown first."""
    length: Annotated[int, Field(ge=1, le=512)] = 32
    """Vectors of one text; images have the size of their data."""
    initialization: Literal["samples", "noise"] = "samples"
    """What inputs start from: real samples of their class, or noise."""
    labels: LabelKind = "unrestricted"
    """`hard`: one class each. `soft`: learned probabilities. `unrestricted`: learned numbers of any size and sign."""
    attention_labels: bool = False
    """Whether the attention of the first token of each layer is learned as well."""
    embedding_penalty: Annotated[float, Field(ge=0)] = 0.0
    """How strongly vectors are drawn to the embeddings of tokens."""
    similarity: Similarity = "cosine"
    """By which vectors are read as tokens."""


class InnerSettings(Settings):
    """How the student learns from the synthetic inputs."""

    optimizer: InnerOptimizer = "sgd"
    """What the student learns with."""
    steps: Annotated[list[Count], Field(min_length=1)] = [5]
    """Steps of the student. Every number is a set of its own, and the first is shown first."""
    learning_rate: Positive = 0.05
    """Where the learned rates, one for each step, start."""
    window: Count | None = None
    """Back-propagate through this many steps, at a random place; by default through all."""
    states: Literal["device", "host"] = "device"
    """Where the weights of the forward pass are kept for the backward pass."""


class OuterSettings(Settings):
    """How the synthetic inputs learn: with Adam, on real batches of samples of similar length."""

    steps: Count = 500
    """Steps of the inputs; each trains a fresh student."""
    batch_size: Count = 32
    """Real samples in one step."""
    learning_rate: Positive = 0.02
    """Adam's rate for the inputs."""
    label_rate: Positive = 0.02
    """Adam's rate for the labels."""
    step_rate: Positive = 0.02
    """Adam's rate for the inner learning rates, each before its softplus."""
    snapshots: Count = 20
    """Moments that are kept, decoded and measured on held-out samples."""
    snapshot_seeds: Count = 3
    """Fresh students that each of them is measured with."""
    dtype: NumberFormat = "auto"
    """What the real batches are computed in; the inner steps stay in float32. `auto`: bfloat16 on GPUs that have it."""


class EvaluationSettings(Settings):
    """How sets are compared: fresh students are trained on each, on all data, and on as many real samples.

    At which step to stop, and at which learning rate, is selected on the held-out part of the training set.
    """

    eval_seeds: Annotated[int, Field(ge=2)] = 10
    """Fresh students for every measurement."""
    steps: Count = 60
    """Most steps of AdamW on texts and real samples."""
    learning_rates: Annotated[list[Positive], Field(min_length=1)] = [1e-4]
    """Learning rates that are tried on texts and real samples."""
    full_epochs: Count = 3
    """Most epochs on all data."""
    full_learning_rate: Positive = 5e-5
    """Learning rate on all data."""
    batch_size: Count = 32
    """Samples in one step."""
    transfer: list[NetworkSettings] = []
    """Other encoders that are trained on the decoded text."""


class PromptSettings(Settings):
    """A causal language model that is shown examples and asked for the class of test samples."""

    model: str
    """A Hub id or a local folder."""
    samples: Count = 200
    """Most test samples it is asked about."""
    draws: Annotated[int, Field(ge=2)] = 10
    """Orders of the examples, and draws of real ones."""


class DistillationRecipe(Settings):
    """Learn a few synthetic inputs per class, read them as words, and measure how well students learn from them."""

    kind: Literal["distillation"]
    """What the run does."""
    name: Name = "distillation"
    """What the run is called; its id begins with it."""
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = [0]
    """Every set is learned once with each."""
    data: LabelledSettings
    other: LabelledSettings | None = None
    """A second task, to merge with the first and to learn after it."""
    students: Annotated[list[NetworkSettings], Field(min_length=1)]
    """The models that sets are learned for; the first at every size and number of steps."""
    scratch: dict[Name, ScratchModel] = {}
    """Encoders trained from scratch: `scratch:NAME`."""
    synthetic: SyntheticSettings = SyntheticSettings()
    inner: InnerSettings = InnerSettings()
    outer: OuterSettings = OuterSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    prompting: PromptSettings | None = None
    cluster: ClusterSettings = ClusterSettings()

    @model_validator(mode="after")
    def _consistent(self) -> DistillationRecipe:
        models = [student.model for student in self.students]
        check_unique(
            {
                "seeds": self.seeds,
                "students": models,
                "synthetic.per_class": self.synthetic.per_class,
                "inner.steps": self.inner.steps,
            }
        )
        for model in [*models, *(network.model for network in self.evaluation.transfer)]:
            if not model.strip():
                raise ValueError("a student has no model; name a Hub id, a folder, scratch:NAME, mlp or cnn")
            made = scratch_name(model)
            if made is not None and made not in self.scratch:
                raise ValueError(
                    f"{model} is to be trained from scratch, but there is no [scratch.{made}] that says how"
                )
            if self.data.task == "text" and model in ("mlp", "cnn"):
                raise ValueError(
                    f"{model} reads no text; name a text classifier of the Hub, its folder, or scratch:NAME"
                )
            if self.data.task == "images" and made is not None:
                raise ValueError(f"{model} would read text, and this data has images; choose mlp or cnn")
        if not all(network.pretrained for network in [*self.students, *self.evaluation.transfer]):
            raise ValueError(
                "pretrained = false leaves a student nothing to start from; leave it out, or use scratch:NAME"
            )
        if len({key.name for key in self.sets()}) < len(self.sets()):
            raise ValueError(
                "two students end in the same word, by which their sets are named; give each a run of its own"
            )
        if self.data.task == "numbers":
            raise ValueError("data.task is numbers, and distillation needs classes")
        if self.data.task == "images":
            if self.other or self.prompting or self.evaluation.transfer or self.synthetic.attention_labels:
                raise ValueError(
                    "other, prompting, evaluation.transfer and synthetic.attention_labels belong to text, "
                    "and this data has images"
                )
            if self.synthetic.embedding_penalty:
                raise ValueError("synthetic.embedding_penalty draws vectors to tokens, and images have none")
        if self.other and self.other.task != self.data.task:
            raise ValueError(f"other.task is {self.other.task}, but data.task is {self.data.task}")
        if self.inner.window and self.inner.window > min(self.inner.steps):
            raise ValueError(f"inner.window is {self.inner.window}, longer than {min(self.inner.steps)} inner steps")
        if self.synthetic.attention_labels and self.synthetic.labels == "hard":
            raise ValueError('synthetic.attention_labels are learned, so synthetic.labels cannot be "hard"')
        return self

    def sets(self) -> list[SetKey]:
        """Every distillation, the one shown first at the front.

        The first student is distilled for at every size (with the first number of inner steps) and every number of
        inner steps (at the first size), with every seed; the other students, and the other task, at the first of each.
        """
        size, steps = self.synthetic.per_class[0], self.inner.steps[0]
        first = self.students[0].model
        points = [(MAIN, first, size, steps)]
        points += [(MAIN, student.model, size, steps) for student in self.students[1:]]
        points += [(OTHER, first, size, steps)] if self.other else []
        points += [(MAIN, first, each, steps) for each in self.synthetic.per_class[1:]]
        points += [(MAIN, first, size, each) for each in self.inner.steps[1:]]
        return [SetKey(*point, seed) for point in points for seed in self.seeds]
