"""Export of a distilled set: what was learned, how it reads, how well it trains, and the programs that train on it.

out/data.parquet            the inputs as text (or PNG), with their class, learned label, and tokens that changed
out/distilled.safetensors   the tensors themselves: inputs, labels, rates, and attention if it has labels
out/manifest.json           run, set, recipe, classes, sizes, hashes, accuracy by method
out/README.md               a dataset card
out/train.py, student.py    trains a fresh student on distilled.safetensors, without Winnow
"""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from engine.analysis.intervals import interval
from engine.common.errors import WinnowError
from engine.config.distillation import METHODS, DistillationRecipe, SetKey
from engine.config.kinds import DISTILLATION
from engine.config.models import scratch_name
from engine.export.samples import described, write_folder, write_words
from engine.storage.ledger import Ledger, Run
from engine.storage.store import Store
from engine.storage.tables import DISTILLED
from engine.storage.workspace import Workspace

TENSORS = "distilled.safetensors"
TEMPLATES = Path(__file__).with_name("templates")  # the code that goes with a set, copied as it is
COLUMNS = {False: ["text", "label", "labels", "changed", "length"], True: ["image", "label", "labels"]}
"""Of data.parquet, by whether inputs are images."""
LONGEST_HEADER = 1 << 20  # bytes; a few tensors need some hundred


def export_distilled(
    workspace: Workspace, ledger: Ledger, store: Store, run: str, *, out: Path, key: SetKey | None = None
) -> dict[str, Any]:
    """Write one finished set of a distillation into the folder `out`, which must not hold anything yet.

    Returns the manifest. Without `key` it is the first set of the recipe that is finished. What is written is the
    snapshot whose tensors the run kept, which is the best one. `changed_tokens` of the manifest counts the tokens
    that learning has changed; texts in which it changed none are named in `unchanged` and are no distilled text.
    Raises WinnowError if the run or the set cannot be exported, its tensors are missing or damaged, or `out` cannot be
    written; nothing is left behind.
    """
    if out.resolve().is_relative_to(workspace.root.resolve()):
        workspace.require_writable("write an export into it")
    found = ledger.run(run)
    recipe = found.recipe_as(DISTILLATION)
    key = _finished_key(store, found, recipe, key)
    kept = found.provenance.get("distilled", {}).get(key.name)
    if kept is None:
        raise WinnowError(f"Run {found.id} has not kept the tensors of the set {key.name} yet; wait for it, or resume.")
    file = workspace.outputs / f"{kept['output']}.safetensors"
    tensors = _header(file, key)
    inputs = store.distilled(found.id, key, kept["step"])
    if len(inputs) != tensors["inputs"]["shape"][0]:
        raise WinnowError(
            f"{file} has {tensors['inputs']['shape'][0]} inputs, but step {kept['step']} of the set {key.name} was "
            f"recorded with {len(inputs)}; `python -m engine doctor` says which part is missing."
        )
    images = recipe.data.task == "images"
    manifest = describe(store, found, recipe, key, inputs, kept["step"])
    columns = COLUMNS[images]
    data = pa.Table.from_pylist(
        inputs[columns].to_dict("records"), schema=pa.schema([DISTILLED.field(name) for name in columns])
    )

    def fill(folder: Path) -> None:
        pq.write_table(data, folder / "data.parquet", compression="zstd")
        shutil.copyfile(file, folder / TENSORS)
        manifest["distilled"] = described(folder / TENSORS) | {"output": kept["output"], "tensors": tensors}
        manifest["data"] = described(folder / "data.parquet") | {"rows": data.num_rows, "columns": columns}
        manifest["training"] = training(recipe, key, tensors)
        shutil.copyfile(TEMPLATES / f"student_{recipe.data.task}.py", folder / "student.py")
        shutil.copyfile(TEMPLATES / "train.py", folder / "train.py")
        write_words(folder, manifest, card(manifest, recipe, key))

    write_folder(out, fill)
    return manifest


def _finished_key(store: Store, run: Run, recipe: DistillationRecipe, key: SetKey | None) -> SetKey:
    """The given set, or the first of the recipe, among those that are finished."""
    sets = store.distilled_sets(run.id)
    finished = [SetKey(*row) for row in sets[list(SetKey._fields)].itertuples(index=False)]
    if not finished:
        raise WinnowError(f"No set of run {run.id} is finished yet; wait for the first one, or resume the run.")
    if key is None:
        return next((planned for planned in recipe.sets() if planned in finished), finished[0])
    if key not in finished:
        raise WinnowError(
            f"Run {run.id} has no finished set {key.name}; it has {', '.join(each.name for each in finished)}."
        )
    return key


def _header(file: Path, key: SetKey) -> dict[str, dict[str, Any]]:
    """dtype and shape of each tensor, read from the head of a safetensors file without reading the tensors.

    The format: eight bytes with the length of the head, lowest first, then the head as JSON with the places of the
    tensors in what follows (github.com/huggingface/safetensors, README).
    """
    try:
        with file.open("rb") as handle:
            length = int.from_bytes(handle.read(8), "little")
            head: dict[str, Any] = json.loads(handle.read(min(length, LONGEST_HEADER)))
        head.pop("__metadata__", None)
        end = 8 + length + max(each["data_offsets"][1] for each in head.values())
        whole = {"inputs", "labels", "rates"} <= head.keys() and file.stat().st_size == end
    except FileNotFoundError as error:
        raise WinnowError(
            f"The tensors of the set {key.name} are gone ({file} is missing); run its recipe again to make them."
        ) from error
    except OSError as error:
        raise WinnowError(f"{file} cannot be read ({error.strerror or error}); check its permissions.") from error
    except (ValueError, TypeError, KeyError, AttributeError):  # not a header
        whole = False
    if not whole:
        raise WinnowError(
            f"The tensors of the set {key.name} are damaged ({file}); delete the file and run its recipe again."
        )
    return {name: {"dtype": each["dtype"], "shape": each["shape"]} for name, each in head.items()}


def describe(
    store: Store, run: Run, recipe: DistillationRecipe, key: SetKey, inputs: pd.DataFrame, step: int
) -> dict[str, Any]:
    """Everything another person needs to know about a set, and to learn it again."""
    images = recipe.data.task == "images"
    same = [] if images else inputs.loc[inputs["changed"] == 0, "input"].tolist()
    return {
        "run": run.id,
        "kind": run.kind,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "set": {"name": key.name, **key._asdict()},
        "step": step,
        "class_names": inputs["label"].iloc[:: key.per_class].tolist(),  # inputs stand in the order of their classes
        "inputs": len(inputs),
        "tokens": int(inputs["length"].sum()),
        "changed_tokens": int(inputs["changed"].sum()),
        "unchanged": same,
        "note": _unchanged(recipe, len(same), len(inputs)),
        "measure": run.provenance.get("measure", "accuracy"),
        "accuracy": accuracies(store.evaluations(run.id), key),
        "recipe": run.recipe,
        "provenance": {name: value for name, value in run.provenance.items() if name not in ("recipe", "distilled")},
    }


def _unchanged(recipe: DistillationRecipe, same: int, count: int) -> str:
    """A note for texts that read as they did before anything was learned; "" if there are none."""
    if not same:
        return ""
    began = f"the {'real sample' if recipe.synthetic.initialization == 'samples' else 'noise'} it started from"
    which = "the text" if count == 1 else "every text" if same == count else f"{same} of {count} texts"
    return (
        f"Token by token, {which} still reads as {began}: what was learned lies between the tokens, in the vectors. "
        "No such text is counted as distilled text."
    )


def accuracies(evaluations: pd.DataFrame, key: SetKey) -> list[dict[str, Any]]:
    """method, trained, mean, low, high, eval_seeds: test accuracy over eval seeds and its 95 % interval (Student).

    In the order of METHODS, the student of the set first. With one eval seed, or if all are equal, there is no
    interval: low and high are None.
    """
    mine = evaluations[(evaluations["task"] == key.task) & (evaluations["student"] == key.student)]
    own = mine[(mine[["per_class", "inner_steps", "seed"]] == list(key[2:])).all(axis=1)]
    models = sorted(mine["trained"].unique(), key=lambda model: (model != key.student, model))
    found = []
    for model in models:
        for method in METHODS:
            rows = mine if method == "full" else own
            rows = rows[(rows["method"] == method) & (rows["trained"] == model)]
            values = rows.drop_duplicates("eval_seed")["accuracy"].dropna()
            if len(values):
                over = interval(values)
                low, high = (None, None) if not over.known else (over.low, over.high)
                found.append(
                    {"method": method, "trained": model, "mean": over.mean, "low": low, "high": high}
                    | {"eval_seeds": over.seeds}
                )
    return found


def card(manifest: dict[str, Any], recipe: DistillationRecipe, key: SetKey) -> str:
    """The dataset card. Names of classes and texts are untrusted and are not in it."""
    images = recipe.data.task == "images"
    what = "pictures" if images else "texts"
    steps = f"{key.inner_steps} step{'s' * (key.inner_steps > 1)} of {OPTIMIZERS[recipe.inner.optimizer]}"
    lines = [
        "---\nconfigs:\n- config_name: default\n  data_files: data.parquet\n---\n",
        f"# {manifest['inputs']} distilled inputs, {key.per_class} per class\n",
        f"Learned by Winnow for {_code(key.student)}, so that {steps} on them train it. `{TENSORS}` holds what was "
        f"learned; `data.parquet` shows it as {what}, and `manifest.json` says how it was made.\n",
    ]
    if not images:
        lines.append(
            f"The texts are the tokens nearest to the learned vectors: {manifest['changed_tokens']} of "
            f"{manifest['tokens']} tokens differ from the start. They show what was learned and do not hold all of it."
            + (f" {manifest['note']}" if manifest["note"] else "")
            + "\n"
        )
    if manifest["accuracy"]:
        lines += ["| trained | on | test accuracy | 95 % interval | eval seeds |", "| --- | --- | --- | --- | --- |"]
        lines += [_row(each, images) for each in manifest["accuracy"]]
        lines.append("\nEach eval seed is a fresh start; the interval is Student's, over eval seeds.\n")
    lines.append(_how_to_train(recipe, key))
    return "\n".join(lines) + "\n"


OPTIMIZERS = {"sgd": "SGD", "momentum": "SGD with momentum", "adam": "Adam"}


def _row(each: dict[str, Any], images: bool) -> str:
    method = "learned pictures" if images and each["method"] == "embeddings" else METHODS[each["method"]]
    between = "" if each["low"] is None else f"{each['low']:.3f} to {each['high']:.3f}"
    return f"| {_code(each['trained'])} | {method} | {each['mean']:.3f} | {between} | {each['eval_seeds']} |"


def _code(text: str) -> str:
    """A name between backticks, which it cannot leave."""
    return "`" + "".join(" " if letter in "`|\r\n" else letter for letter in text) + "`"


def _how_to_train(recipe: DistillationRecipe, key: SetKey) -> str:
    lines = [
        "## Train on it\n",
        "`python train.py` in this folder trains a fresh student, one step for each learned rate; `student.py` has the "
        "network. Neither needs Winnow.",
    ]
    if recipe.data.task == "images":
        lines.append(
            "Pixels are standardised with `mean` and `std` of the training samples, which `distilled.safetensors` "
            "holds: so must be the images it is tested on."
        )
    else:
        lines.append(
            "The vectors take the place of token embeddings, the special ones included, so the table of token "
            "embeddings is not trained. Dropout is off, and every start draws a fresh head."
        )
    if scratch_name(key.student) is not None:
        lines.append(
            "The student was trained from scratch by Winnow and is not on the Hub: write its folder, which lies under "
            "`models/` in the workspace of the run, into `training.student` of manifest.json."
        )
    return "\n".join(lines)


def training(recipe: DistillationRecipe, key: SetKey, tensors: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What train.py and student.py read from the manifest."""
    network = next(student for student in recipe.students if student.model == key.student)
    return {
        "student": key.student,
        "classes": tensors["labels"]["shape"][1],
        "shape": tensors["inputs"]["shape"][1:],
        "optimizer": recipe.inner.optimizer,
        "network": network.model_dump(mode="json"),
    }
