"""Where the models of a distillation are loaded from; encoders of the recipe are trained from scratch before."""

from __future__ import annotations

from engine.common.hashing import digest
from engine.config.distillation import DistillationRecipe
from engine.config.models import scratch_name
from engine.data.labelled.samples import training_texts
from engine.models.loading import load_tokenizer
from engine.models.scratch import encoder
from engine.studies import flops
from engine.studies.job import Job

MAX_WORDS = 8192  # in the vocabulary of an encoder from scratch


def model_sources(job: Job, recipe: DistillationRecipe) -> dict[str, str]:
    """By model as the recipe names it: the folder or Hub id to load."""
    models = [network.model for network in [*recipe.students, *recipe.evaluation.transfer]]
    sources = {model: model for model in models}
    if recipe.data.task == "text":
        sources |= _train_encoders(job, recipe, [model for model in models if scratch_name(model)])
    return sources


def _train_encoders(job: Job, recipe: DistillationRecipe, models: list[str]) -> dict[str, str]:
    """The folders of `scratch:` encoders, trained on the training texts of both tasks unless the workspace has them."""
    if not models:
        return {}
    tasks = [settings for settings in (recipe.data, recipe.other) if settings]
    with job.phase("reading the text the encoder is trained on", 0):
        texts = [text for settings in tasks for text in training_texts(settings)]
    fingerprint = digest(texts)
    folder = encoder.word_tokenizer_folder(job.workspace, lambda: texts, fingerprint, MAX_WORDS)
    tokenizer = load_tokenizer(str(folder), ends=False)
    longest = max(*(settings.max_length for settings in tasks), recipe.synthetic.length + 2)
    ids = tokenizer(texts, truncation=True, max_length=longest)["input_ids"]
    folders = {}
    for model in dict.fromkeys(models):
        name = scratch_name(model)
        assert name is not None
        settings = recipe.scratch[name]
        made = encoder.encoder_folder(job.workspace, name, settings, folder, longest, fingerprint)
        if not made.exists():
            planned = flops.pretraining(settings, len(tokenizer), sum(map(len, ids)))
            job.plan(planned)
            with job.phase(f"training {name} from scratch", planned) as tick:
                encoder.make_encoder(job.workspace, made, settings, tokenizer, ids, longest, job.device, tick)
        folders[model] = str(made)
    return folders
