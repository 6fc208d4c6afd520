"""Dataset distillation: a few synthetic inputs per class, learned, read, and measured.

The story: make the encoders that are made from nothing; learn each set and measure it, beside the student trained on
everything; then two tasks together, one task after the other, and prompts. Every
snapshot, set and measurement ends in recorded parts.
"""

from __future__ import annotations

from engine.models.loading import model_facts_of
from engine.runs import work
from engine.runs.distillation_study import Study, open_study
from engine.runs.distilling import distil, output_of, plan_set
from engine.runs.job import Job
from engine.runs.prompting import prompt_worth
from engine.runs.two_tasks import measure_two_tasks, plan_two_tasks
from engine.runs.worth import Worth
from engine.synthetic import OTHER, DistillationRecipe, PromptSettings, SetKey


def run(job: Job) -> None:
    recipe = job.run.parsed()
    assert isinstance(recipe, DistillationRecipe)
    study = open_study(job, recipe)
    sets, worth = recipe.sets(), Worth(study)
    for key in sets:
        plan_set(study, key)
    worth.plan(sets)
    both = None
    if recipe.other:
        both = sets[0], next(key for key in sets if key.task == OTHER)
        plan_two_tasks(study, worth, *both)
    prompts = _plan_prompts(study, sets[0], recipe.prompting) if recipe.prompting else 0.0
    for key in sets:
        distil(study, key)
        for wanted in worth.wanted(key):
            worth.measure(wanted)
    if both:
        measure_two_tasks(study, worth, *both)
    if recipe.prompting:
        _measure_prompts(study, worth, sets[0], recipe.prompting, prompts)


def _plan_prompts(study: Study, key: SetKey, settings: PromptSettings) -> float:
    """Floating-point operations of asking a language model, which must be there before anything is learned."""
    task = study.task(key.task, key.student)
    asked = min(settings.samples, len(task.samples["test"])) * float(task.lengths["test"].mean())
    amount = work.scoring(round((1 + 2 * settings.draws) * asked), model_facts_of(settings.model)["parameters"])
    study.job.plan(amount)
    if study.job.has("worth", f"{key.name}-prompts"):
        study.job.skip(amount)
    return amount


def _measure_prompts(study: Study, worth: Worth, key: SetKey, settings: PromptSettings, amount: float) -> None:
    """Decoded texts, real samples and nothing as the examples of a prompt."""
    job, name = study.job, f"{key.name}-prompts"
    if job.has("worth", name):
        return
    task = study.task(key.task, key.student)
    learner = study.learner(task, key.student)
    names = task.data.class_names
    texts = {split: task.texts(split) for split in ("train", "test")}
    labels = {split: task.labels[split].tolist() for split in ("train", "test")}

    def real(draw: int) -> list[tuple[str, str]]:
        places = worth.picks(task, learner, key.per_class, "random", draw)
        return [(texts["train"][place], names[labels["train"][place]]) for place in places]

    classes = output_of(study, key).facts["classes"]
    rows = prompt_worth(
        job,
        settings,
        key=key,
        class_names=names,
        distilled=[(text, names[label]) for text, label in zip(worth.texts(key), classes, strict=True)],
        real=real,
        test=[(text, names[label]) for text, label in zip(texts["test"], labels["test"], strict=True)],
        work=amount,
    )
    job.record([job.write("worth", name, rows)])
