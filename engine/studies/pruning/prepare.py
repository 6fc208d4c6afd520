"""What every run on a pair of language models starts with: its rows, its tokenizer, its samples, its models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from engine.common.hashing import digest
from engine.common.text import printable
from engine.config.data import CorpusSettings, DataSettings
from engine.config.models import PairSettings, ScratchModel, ScratchSettings, scratch_name
from engine.config.pruning import DynamicPruningRecipe, ScoreRecipe
from engine.data.loading import DEMO, DEMO_CORPUS
from engine.data.samples import EncodedSample, Prepared, prepare, readable
from engine.data.sources import Rows, read_rows
from engine.data.templates import Template, pieces, resolve_template, template_hash
from engine.data.tokenizers import shared_tokenizer, tokenizer_hash
from engine.models.exits import scratch_exit
from engine.models.loading import LoadedModel, check_placement, load_model, load_student, load_tokenizer, model_facts_of
from engine.models.lora import check_lora
from engine.models.placement import placement_of
from engine.models.positions import shortest
from engine.models.scratch import causal
from engine.studies import flops
from engine.studies.job import Job
from engine.studies.provenance import record_inputs


@dataclass
class Corpus:
    """The text that models from scratch are trained on, and the tokenizer learned from it."""

    rows: Rows
    tokenizer_folder: Path
    tokenizer: PreTrainedTokenizerBase
    samples: list[EncodedSample]
    hash: str


@dataclass
class Models:
    """Where the pair is, and how to load it. The teacher is loaded only if something needs it."""

    teacher_source: str
    student_source: str
    pair: PairSettings
    tokenizer: PreTrainedTokenizerBase
    dtype: torch.dtype
    size: flops.PairSize

    def teacher(self, job: Job) -> LoadedModel:
        source, placement = job.local_path(self.teacher_source), placement_of(self.pair)
        return load_model(self.pair.teacher, source, self.dtype, job.device, placement)

    def student(self, job: Job) -> LoadedModel:
        source = job.local_path(self.student_source)
        return load_student(self.pair.student, source, self.dtype, job.device, lambda: self.teacher(job))


def corpus_settings(data: DataSettings, corpus: CorpusSettings) -> CorpusSettings:
    """The corpus of a recipe: without a source of its own, the rows of the data that the run does not use."""
    if corpus.source:
        return corpus
    if data.source == DEMO:
        return corpus.model_copy(update={"source": DEMO_CORPUS})
    after = data.skip + (data.limit or 0) if data.limit else 0
    return corpus.model_copy(
        update={
            "source": data.source,
            "split": data.split,
            "columns": corpus.columns if corpus.columns.response else data.columns,
            "skip": corpus.skip or after,
        }
    )


def read_corpus(job: Job, data: DataSettings, settings: ScratchSettings, max_length: int) -> Corpus:
    """Read the corpus, learn its tokenizer unless the workspace has it, and tokenise it."""
    corpus = corpus_settings(data, settings.corpus)
    with job.phase(f"reading the corpus {corpus.source}", 0):
        rows = read_rows(corpus.source, corpus.split, corpus.skip, corpus.limit, corpus.columns)
        template = resolve_template(data.template, rows.conversations, None)
        fingerprint = digest([rows.fingerprint, template_hash(template)])
        folder = causal.tokenizer_folder(
            job.workspace, partial(_texts, rows, template), fingerprint, settings.vocab_size
        )
        tokenizer = load_tokenizer(str(folder))
        samples = readable(rows.rows, template, tokenizer, max_length)
    return Corpus(rows, folder, tokenizer, samples, fingerprint)


def _texts(rows: Rows, template: Template) -> Iterator[str]:
    for row in rows.rows:
        yield "".join(piece.text for piece in pieces(template, row))


def make_scratch(job: Job, name: str, settings: ScratchModel, corpus: Corpus, max_length: int) -> Path:
    """Train the model called `scratch:<name>` unless the workspace has it. Returns its folder."""
    folder = _scratch_folder(job, name, settings, corpus, max_length)
    if folder.exists():
        return folder
    with job.phase(f"training {name} from scratch", _scratch_flops(settings, corpus)) as tick:
        loss = causal.make(
            job.workspace, folder, settings, corpus.tokenizer, corpus.samples, max_length, job.device, tick
        )
    if loss is not None:
        job.log.info("%s ended at a training loss of %.3f nats per token", name, loss)
    return folder


def plan_scratch(job: Job, name: str, settings: ScratchModel, corpus: Corpus, max_length: int) -> None:
    """Plan the training of a model that the workspace does not have yet."""
    if not _scratch_folder(job, name, settings, corpus, max_length).exists():
        job.plan(_scratch_flops(settings, corpus))


def _scratch_folder(job: Job, name: str, settings: ScratchModel, corpus: Corpus, max_length: int) -> Path:
    return causal.model_folder(job.workspace, name, settings, corpus.tokenizer_folder, max_length, corpus.hash)


def _scratch_flops(settings: ScratchModel, corpus: Corpus) -> float:
    tokens = sum(len(sample.input_ids) for sample in corpus.samples)
    return flops.pretraining(settings, len(corpus.tokenizer), tokens)


def open_pair(job: Job, recipe: DynamicPruningRecipe | ScoreRecipe) -> tuple[Models, Prepared]:
    """Rows, tokenizer, samples (written as a part) and models of a run, checked against each other."""
    pair, data = recipe.models, recipe.data
    roles = {role: scratch_name(pair.source(role)) for role in ("teacher", "student")}
    corpus = None
    if any(roles.values()):
        assert recipe.scratch is not None  # the recipe was checked
        corpus = read_corpus(job, data, recipe.scratch, pair.max_length)
    tokenizers = {
        role: corpus.tokenizer if name and corpus else load_tokenizer(pair.source(role)) for role, name in roles.items()
    }
    facts = {role: model_facts_of(pair.source(role), getattr(pair, role)) for role, name in roles.items() if not name}
    check_placement(pair.teacher, placement_of(pair))
    if isinstance(recipe, DynamicPruningRecipe) and "student" in facts:
        check_lora(pair.source("student"), recipe.training.lora, pair.student)
    max_length = shortest(pair.max_length, *(found["context"] for found in facts.values()))
    if max_length < pair.max_length:
        job.log.info("texts are cut at %d tokens instead of %d: the models read no more", max_length, pair.max_length)
    tokenizer = shared_tokenizer(tokenizers["teacher"], tokenizers["student"], (pair.teacher, pair.student))
    with job.phase(f"reading {data.source}", 0):
        rows = read_rows(data.source, data.split, data.skip, data.limit, data.columns)
        template = resolve_template(data.template, rows.conversations, tokenizer)
        job.log.info("%s", _columns_read(rows, template))
        prepared = prepare(rows, template, tokenizer, max_length, data.valid_fraction, data.split_seed, data.valid_only)
        job.log.info("%s", _rows_kept(rows, prepared, max_length))
    parameters, heads = dict[str, int](), dict[str, int]()
    for role, name in roles.items():
        if name and corpus and recipe.scratch:
            settings = recipe.scratch.models[name]
            kept = scratch_exit(getattr(pair, role), pair.teacher, settings)
            parameters[role] = flops.parameters_of(kept, len(corpus.tokenizer))
            heads[role] = len(corpus.tokenizer) * kept.width
            if kept is settings:
                plan_scratch(job, name, settings, corpus, pair.max_length)
        else:
            parameters[role] = facts[role]["parameters"]
            heads[role] = len(tokenizer) * facts[role]["width"]
    size = flops.PairSize(parameters["teacher"], parameters["student"], heads["teacher"], heads["student"])
    tokens = {split: sum(sample.length for sample in of_split(prepared, split)) for split in ("train", "valid")}
    job.plan(flops.study(recipe, size, tokens["train"], tokens["valid"]))
    sources = {}
    for role, name in roles.items():
        if name and corpus and recipe.scratch:
            sources[role] = str(make_scratch(job, name, recipe.scratch.models[name], corpus, pair.max_length))
        else:
            sources[role] = pair.source(role)
    models = Models(sources["teacher"], sources["student"], pair, tokenizer, job.dtype(pair.dtype), size)
    record_inputs(
        job,
        recipe,
        prepared,
        origin=rows.origin,
        dtype=models.dtype,
        packages=["peft"],
        data_fingerprint=rows.fingerprint,
        columns=rows.columns.model_dump(),
        unused_columns=rows.unused,
        dropped=prepared.dropped,
        truncated=prepared.truncated,
        max_length=max_length,
        conversations=rows.conversations,
        template=template,
        template_hash=template_hash(template, tokenizer),
        tokenizer_hash=tokenizer_hash(models.tokenizer),
        teacher_source=models.teacher_source,
        student_source=models.student_source,
    )
    return models, prepared


def _columns_read(rows: Rows, template: Template) -> str:
    """Which columns become what, which are not read, and in what template; for the log."""
    read = ", ".join(f"{role} from {printable(name)}" for role, name in rows.columns.model_dump().items() if name)
    unused = ", ".join(map(printable, rows.unused))
    return f"columns: {read}; not read, but kept as fields: {unused or 'none'}; prompt template: {template}"


def _rows_kept(rows: Rows, prepared: Prepared, max_length: int) -> str:
    """How many rows are samples, and why the others are not; for the log."""
    dropped = ", ".join(f"{count:,} dropped ({cause})" for cause, count in prepared.dropped.items())
    return (
        f"samples: {len(prepared.samples):,} of {rows.read:,} rows, {dropped or 'none dropped'}, "
        f"{prepared.truncated:,} cut to {max_length:,} tokens"
    )


def model_facts(role: str, loaded: LoadedModel) -> dict[str, Any]:
    """Provenance of a model once it has been loaded."""
    return {f"{role}_hash": loaded.hash, f"{role}_parameters": loaded.parameters}


def of_split(prepared: Prepared, split: str) -> list[EncodedSample]:
    """The samples of "train" or "valid", in the order of the source."""
    return [sample for sample in prepared.samples if sample.split == split]
