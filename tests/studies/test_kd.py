"""A whole grid on a few digits: every cell once, no cell twice, and the same students after a stop."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForSequenceClassification,
    BartConfig,
    BertConfig,
    BertForSequenceClassification,
    DebertaV2Config,
    GPT2Config,
    PreTrainedTokenizerFast,
    ReformerConfig,
    T5Config,
)

from engine.config.grid import PRUNING_SCORES, selection_arm
from engine.config.kd import PrunedKdRecipe
from engine.config.load import parse_recipe, set_value
from engine.runtime.worker import execute
from engine.storage.ledger import Ledger
from engine.storage.parts import read_table
from engine.storage.workspace import Workspace, open_workspace
from engine.studies.job import Job
from engine.studies.kd import grid as grid_module
from engine.studies.kd.setup import flip_labels


def recipe(**changes: Any) -> PrunedKdRecipe:
    """A grid of a few seconds; `a__b=value` sets a.b."""
    raw: dict[str, Any] = {
        "kind": "pruned-kd",
        "name": "tiny-kd",
        "seeds": [0, 1],
        "data": {"source": "digits", "limit": 300},
        "network": {"width": 8, "depth": 1},
        "scores": {"runs": 2, "early_epoch": 2, "subsets": 4},
        "training": {"epochs": 4, "learning_rate": 0.01},
        "grid": {"scores": ["random", "el2n"], "fractions": [0.2, 1.0], "kd_weights": [0.0, 0.5]},
    }
    for key, value in changes.items():
        set_value(raw, key.replace("__", "."), value)
    parsed = parse_recipe(raw)
    assert isinstance(parsed, PrunedKdRecipe)
    return parsed


def do(workspace: Workspace, wanted: PrunedKdRecipe) -> str:
    ledger = Ledger(workspace)
    run, lock = ledger.start(wanted)
    execute(workspace, ledger, run, lock, device="cpu")
    done = ledger.run(run.id)
    assert done.state == "done", done.error
    return run.id


def table(workspace: Workspace, run: str, name: str) -> pd.DataFrame:
    return read_table(workspace, Ledger(workspace).parts(run, name), name).to_pandas()


CELL = ["score", "fraction", "kd_weight", "teacher", "noise", "seed"]


def cells(workspace: Workspace, run: str) -> pd.DataFrame:
    return table(workspace, run, "grid").sort_values(CELL).reset_index(drop=True)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, str]:
    """One finished grid that several tests look at."""
    workspace = open_workspace(tmp_path_factory.mktemp("grid") / "workspace", read_only=False)
    return workspace, do(workspace, recipe())


def test_every_cell_is_there_once(finished: tuple[Workspace, str]) -> None:
    """The page shows exactly the grid that was asked for, each cell with what was measured."""
    found = cells(*finished)
    assert sorted(map(tuple, found[CELL].to_numpy())) == sorted(recipe().cells())
    assert found["accuracy"].between(0, 1).all()
    assert (found["failed"] == "").all()
    train = table(*finished, "samples").query("split == 'train'")
    assert set(found.query("fraction == 1")["samples"]) == {len(train)}
    assert set(found.query("fraction < 1")["samples"]) == {round(0.2 * len(train))}
    assert found.query("fraction == 1")["accuracy"].mean() > found.query("fraction < 1")["accuracy"].mean()


def test_cells_of_one_training_share_their_key(finished: tuple[Workspace, str]) -> None:
    """With all of the data no score matters, so it is trained once; everywhere else every cell is its own."""
    found = cells(*finished)
    whole = found.query("fraction == 1").groupby(["kd_weight", "seed"])
    assert (whole["cell"].nunique() == 1).all()
    assert (whole["accuracy"].nunique() == 1).all()
    assert found["cell"].nunique() == 4 + 8


def test_what_is_kept_is_the_top_of_the_score(finished: tuple[Workspace, str]) -> None:
    """High = keep, through all the layers: the selections part holds the highest scores of the scores part."""
    scores = table(*finished, "scores").query("metric == 'el2n'").set_index("row")["value"]
    chosen = table(*finished, "selections").query(
        "arm == @kept_arm('el2n', 0.2, 0.0)", local_dict={"kept_arm": selection_arm}
    )
    kept = scores[chosen[chosen["kept"]]["row"]]
    pruned = scores[chosen[~chosen["kept"]]["row"]]
    assert len(kept) == round(0.2 * len(chosen))
    assert kept.min() >= pruned.max()


def test_a_grid_that_grows_trains_only_what_is_new(
    finished: tuple[Workspace, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One more fraction: the finished cells are taken over as they are, and only its cells are trained."""
    workspace, run = finished
    trained: list[int] = []
    real = grid_module.train_group

    def counted(group: Any, students: Any, *args: Any, **more: Any) -> int:
        trained.append(len(students))
        return real(group, students, *args, **more)

    monkeypatch.setattr(grid_module, "train_group", counted)
    grown = do(workspace, recipe(grid__fractions=[0.2, 0.4, 1.0]))
    assert sum(trained) == 8
    before, after = cells(workspace, run), cells(workspace, grown)
    same = after[after["fraction"] != 0.4].reset_index(drop=True)
    columns = [*CELL, "cell", "accuracy", "seconds"]
    pd.testing.assert_frame_equal(same[columns], before[columns])
    trained.clear()
    do(workspace, recipe(grid__fractions=[0.2, 0.4, 1.0]))
    assert not trained


def test_a_stopped_grid_goes_on_where_it_was(
    finished: tuple[Workspace, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled in the middle: what was recorded stays, the rest is the same as in a run left alone."""
    monkeypatch.setitem(grid_module.GROUP_FLOPS, "cpu", 1.0)  # a part for every cell
    workspace = open_workspace(tmp_path / "stopped", read_only=False)
    ledger = Ledger(workspace)
    run, lock = ledger.start(recipe())
    recorded = Job.record

    def stop_after_three(job: Job, parts: Any) -> None:
        recorded(job, parts)
        if len(ledger.parts(run.id, "grid")) == 3:
            ledger.cancel(run.id)

    with monkeypatch.context() as stopping:
        stopping.setattr(Job, "record", stop_after_three)
        stopping.setattr("engine.studies.job.REPORT_SECONDS", 0.0)
        assert execute(workspace, ledger, run, lock, device="cpu") == "cancelled"
    assert len(ledger.parts(run.id, "grid")) == 3
    ledger.resume(run.id)
    claimed = ledger.claim(run.id)
    assert claimed is not None
    assert execute(workspace, ledger, *claimed, device="cpu") == "done"
    columns = [*CELL, "cell", "accuracy", "samples"]
    pd.testing.assert_frame_equal(cells(workspace, run.id)[columns], cells(*finished)[columns])


def test_a_failed_cell_does_not_fail_the_grid(workspace: Workspace) -> None:
    """Skipping the hardest half leaves too few for most of the data: those cells say so, the others are done."""
    found = cells(
        workspace,
        do(
            workspace,
            recipe(selection={"rule": "window", "skip_hardest": 0.5}, grid__fractions=[0.2, 0.9]),
        ),
    )
    failed = found[found["failed"] != ""]
    assert set(zip(failed["score"], failed["fraction"], strict=True)) == {("el2n", 0.9)}
    assert failed["accuracy"].isna().all()
    assert failed["failed"].str.contains("skip_hardest").all()


def test_a_training_that_diverges_is_a_failed_cell(workspace: Workspace) -> None:
    """A loss that is no number is never shown as an accuracy."""
    found = cells(workspace, do(workspace, recipe(training__learning_rate=1e30, grid__kd_weights=[0.0])))
    assert found["failed"].str.contains("diverged").all()
    assert found["accuracy"].isna().all()


def test_a_group_that_does_not_fit_is_halved(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of memory costs no cell that fits alone; one that does not says so, and the grid goes on."""
    real = grid_module.train_group

    def narrow(group: Any, students: Any, *args: Any, **more: Any) -> int:
        if len(students) > 2 or students[0].kd_weight == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(group, students, *args, **more)

    monkeypatch.setattr(grid_module, "train_group", narrow)
    found = cells(workspace, do(workspace, recipe(grid__kd_weights=[0.0, 1.0])))
    failed = found[found["failed"] != ""]
    assert len(found) == len(recipe().cells())
    assert set(failed["kd_weight"]) == {1.0}
    assert failed["failed"].str.contains("does not fit into memory even alone").all()
    assert found.query("kd_weight == 0")["accuracy"].notna().all()


def test_every_score_can_be_asked_for(workspace: Workspace) -> None:
    """Each yields one finite number per training sample, and its cost is written down."""
    run = do(workspace, recipe(grid__scores=list(PRUNING_SCORES), grid__fractions=[0.3], seeds=[0]))
    scores = table(workspace, run, "scores")
    assert set(scores["metric"]) == set(PRUNING_SCORES) - {"random", "random_fresh"}
    assert np.isfinite(scores["value"]).all()
    assert scores.groupby("metric")["row"].nunique().nunique() == 1
    costs = table(workspace, run, "metrics").query("name == 'seconds_scoring'")
    assert set(costs["arm"]) == {f"score {name}" for name in scores["metric"]}
    assert set(cells(workspace, run)["score"]) == set(PRUNING_SCORES)


def test_teachers_of_every_kind(workspace: Workspace) -> None:
    """Smaller, early, on a part of the data, and learning beside the student: each is its own training."""
    teachers: dict[str, Any] = {
        "self": {},
        "small": {"width": 4},
        "early": {"at_epoch": 1},
        "part": {"fraction": 0.2},
        "online": {"online": True},
    }
    run = do(
        workspace,
        recipe(teachers=teachers, grid__teachers=list(teachers), grid__fractions=[0.3], grid__scores=["random"]),
    )
    found = cells(workspace, run)
    heard = found[(found["kd_weight"] > 0) & (found["seed"] == 0)]
    assert heard["loss"].nunique() == len(teachers)
    assert found[found["kd_weight"] == 0].groupby("seed")["cell"].nunique().eq(1).all()
    facts = table(workspace, run, "metrics").set_index(["arm", "name", "split", "seed"])["value"]
    assert facts["teacher small", "parameters", "", 0] < facts["teacher self", "parameters", "", 0]
    assert facts["teacher early", "accuracy", "test", 0] < facts["teacher self", "accuracy", "test", 0]
    assert facts["teacher self", "cache_bytes", "", 0] > 0
    assert "teacher online" not in facts.index.get_level_values("arm")


def test_flipped_labels_are_counted(workspace: Workspace) -> None:
    """A fifth is flipped; each cell knows how many of them it keeps, and the test labels stay right."""
    run = do(workspace, recipe(grid__noise=[0.0, 0.2], grid__scores=["random", "loss"]))
    found = cells(workspace, run)
    assert (found.query("noise == 0")["flipped"] == 0).all()
    noisy = found.query("noise == 0.2")
    whole = noisy.query("fraction == 1")
    assert set(whole["flipped"]) == {round(0.2 * int(whole["samples"].iloc[0]))}
    share = (noisy["flipped"] / noisy["samples"]).groupby([noisy["score"], noisy["fraction"]]).mean()
    assert share["loss", 0.2] > share["random", 0.2]  # wrong labels have the highest loss


def test_flips_are_another_class_and_nested() -> None:
    """A flipped label is wrong for certain, and more noise adds flips without moving the old ones."""
    labels = torch.from_numpy(np.random.default_rng(0).integers(0, 4, 500))
    less, few = flip_labels(labels, 0.1, 4, seed=3)
    more, many = flip_labels(labels, 0.4, 4, seed=3)
    assert (few.sum(), many.sum()) == (50, 200)
    assert torch.equal(less != labels, torch.from_numpy(few))
    assert torch.equal(more != labels, torch.from_numpy(many))
    assert not (few & ~many).any()
    assert torch.equal(less[few], more[few])


def test_equal_epochs_and_equal_steps(workspace: Workspace) -> None:
    """Either axis can be fixed, and both are reported."""
    epochs = cells(workspace, do(workspace, recipe(grid__scores=["random"])))
    steps = cells(workspace, do(workspace, recipe(grid__scores=["random"], training__equal="steps")))
    assert set(epochs["epochs"]) == {4.0}
    assert epochs["steps"].nunique() == 2
    assert steps["steps"].nunique() == 1
    assert steps.query("fraction < 1")["epochs"].min() > 4


def test_an_emptied_class_is_named(workspace: Workspace) -> None:
    """A pure top of a score may empty a class: the run says which, and what keeps some of each."""
    run = do(workspace, recipe(grid__fractions=[0.02], grid__scores=["el2n"]))
    (emptied,) = Ledger(workspace).run(run).provenance["emptied"]
    assert emptied["arm"] == selection_arm("el2n", 0.02, 0.0)
    assert set(emptied["classes"]) < {str(digit) for digit in range(10)}
    assert "quota" in Ledger(workspace).log_path(run).read_text(encoding="utf-8")
    quota = do(workspace, recipe(grid__fractions=[0.1], grid__scores=["el2n"], selection={"rule": "quota"}))
    assert Ledger(workspace).run(quota).provenance["emptied"] == []


def test_a_regression(workspace: Workspace) -> None:
    """Numbers are predicted by the same grid; the measure is R², at most 1."""
    run = do(
        workspace,
        recipe(
            data={"source": "diabetes", "task": "numbers"},
            training__epochs=40,
            grid__scores=["random", "el2n", "grand", "k_center", "memorization"],
        ),
    )
    found = cells(workspace, run)
    assert (found["accuracy"] <= 1).all()
    assert found.query("fraction == 1")["accuracy"].mean() > 0.2
    assert Ledger(workspace).run(run).provenance["measure"] == "R²"


def test_a_small_convolutional_network_with_views(workspace: Workspace) -> None:
    """Shifted views, a teacher heard once for each of them, convolutions trained side by side."""
    run = do(
        workspace,
        recipe(
            network={"model": "cnn", "width": 4, "depth": 1},
            training={"epochs": 3, "views": 2, "learning_rate": 0.01},
            grid__scores=["random"],
        ),
    )
    assert cells(workspace, run)["accuracy"].notna().all()


def classifier(folder: Path, words: list[str]) -> Path:
    """A tiny BERT and its word-level tokenizer, as `save_pretrained` leaves them."""
    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    torch.manual_seed(0)
    BertForSequenceClassification(config).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    return folder


WORDS = ["[PAD]", "[UNK]", "good", "bad", "film", "the", "a", "was"]


def films(path: Path) -> Path:
    rows = [f"the film was {('good', 'bad')[i % 2]},{('up', 'down')[i % 2]}" for i in range(120)]
    path.write_text("text,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


def test_a_transformer_reads_text(workspace: Workspace, tmp_path: Path) -> None:
    """The same grid with a classifier from a local folder, as a user of the Hub would have it."""
    run = do(
        workspace,
        recipe(
            data={"source": str(films(tmp_path / "films.csv")), "task": "text", "max_length": 8},
            network={"model": str(classifier(tmp_path / "bert", WORDS))},
            scores={"runs": 1, "epochs": 2, "early_epoch": 1},
            training={"epochs": 15, "batch_size": 16, "learning_rate": 0.003, "temperature": 2.0},
            grid__scores=["random", "el2n", "grand", "kl"],
            grid__fractions=[0.5],
        ),
    )
    found = cells(workspace, run)
    assert found["accuracy"].max() == 1
    assert math.isfinite(found["loss"].max())


def of_kind(folder: Path, config: Any) -> str:
    """The folder of another classifier with the tokenizer of `classifier`, which has an end token if it needs one."""
    classifier(folder, WORDS)
    torch.manual_seed(0)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    return str(folder)


def of_text(source: Path, model: str, **changes: Any) -> PrunedKdRecipe:
    """A few steps of one student on texts."""
    return recipe(
        data={"source": str(source), "task": "text", "max_length": 8},
        network={"model": model},
        seeds=[0],
        scores={"runs": 1, "epochs": 1, "early_epoch": 1},
        training={"epochs": 1, "batch_size": 16},
        grid={"scores": ["el2n", "herding"], "fractions": [0.5], "kd_weights": [0.0, 0.5]},
        **changes,
    )


def facts(workspace: Workspace, run: str) -> dict[str, Any]:
    return Ledger(workspace).run(run).provenance


SMALL: dict[str, Any] = {
    "vocab_size": len(WORDS), "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 32,
}  # fmt: skip
OTHER_CLASSIFIERS: dict[str, Any] = {
    "no pad token": GPT2Config(
        vocab_size=len(WORDS), n_embd=16, n_layer=1, n_head=2, n_positions=32, bos_token_id=0, eos_token_id=0
    ),
    "does not run while operations are counted": DebertaV2Config(
        **SMALL, relative_attention=True, pos_att_type=["c2p", "p2c"]
    ),
}


@pytest.mark.parametrize("kind", OTHER_CLASSIFIERS)
def test_other_kinds_of_classifiers_read_text(kind: str, workspace: Workspace, tmp_path: Path) -> None:
    """Whatever a classifier lacks that is not needed for its answer does not stop a run; estimates say so."""
    model = of_kind(tmp_path / "model", OTHER_CLASSIFIERS[kind])
    run = do(workspace, of_text(films(tmp_path / "films.csv"), model))
    assert cells(workspace, run)["accuracy"].notna().all()
    estimated = [model] if kind.startswith("does not run") else []
    assert facts(workspace, run)["operations_estimated"] == estimated


def refused(workspace: Workspace, wanted: PrunedKdRecipe) -> str:
    """The sentence of a run that ends before anything is trained."""
    ledger = Ledger(workspace)
    run, lock = ledger.start(wanted)
    assert execute(workspace, ledger, run, lock, device="cpu") == "failed"
    assert not ledger.parts(run.id, "metrics")
    return ledger.run(run.id).error


def test_an_encoder_decoder_reads_text_that_ends(workspace: Workspace, tmp_path: Path) -> None:
    """Its classifier stands at the end token: a tokenizer that writes one is read, another is refused at the start."""
    config = T5Config(vocab_size=len(WORDS), d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, eos_token_id=5)
    config.decoder_start_token_id = 0
    model, source = of_kind(tmp_path / "t5", config), tmp_path / "films.csv"
    rows = [f"{('good', 'bad')[i % 2]} film the,{('up', 'down')[i % 2]}" for i in range(120)]  # "the" is the end here
    source.write_text("text,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    run = do(workspace, of_text(source, model))
    assert cells(workspace, run)["accuracy"].notna().all()
    source.write_text("text,label\n" + "\n".join(rows).replace(" the", "") + "\n", encoding="utf-8")
    bart = BartConfig(
        vocab_size=len(WORDS), d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, max_position_embeddings=32, eos_token_id=5,
    )  # fmt: skip
    model = of_kind(tmp_path / "bart", bart)
    assert refused(workspace, of_text(source, model)).startswith(f"{model} cannot read these samples (")


def test_texts_are_cut_to_what_the_shortest_network_reads(workspace: Workspace, tmp_path: Path) -> None:
    """A teacher that reads less than its student decides, and how many texts that cuts is said."""
    short = of_kind(tmp_path / "short", BertConfig(**SMALL, max_position_embeddings=8))
    model, source = str(classifier(tmp_path / "bert", WORDS)), films(tmp_path / "films.csv")
    source.write_text(source.read_text().replace("the film", "the film was a film and the film", 60))
    run = do(workspace, of_text(source, model, teachers={"self": {"model": short}}, data__max_length=12))
    samples = table(workspace, run, "samples")
    assert samples["length"].max() == 8
    assert samples["truncated"].sum() == 60
    assert "; 60 texts cut to 8 tokens, as many as the model reads." in facts(workspace, run)["data_origin"]


def test_a_classifier_without_a_layer_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    """A checkpoint that lacks weights would otherwise be completed at random and trained."""
    folder = classifier(tmp_path / "bert", WORDS)
    BertConfig(**SMALL | {"num_hidden_layers": 2}).save_pretrained(folder)
    sentence = refused(workspace, of_text(films(tmp_path / "films.csv"), str(folder)))
    assert "bert.encoder.layer.1" in sentence
    assert str(folder) in sentence


def test_gradients_that_a_network_does_not_give_are_found_before_the_work(workspace: Workspace, tmp_path: Path) -> None:
    """GraNd needs the gradient of each sample alone, which Reformer's own autograd functions do not allow."""
    config = ReformerConfig(
        vocab_size=len(WORDS), hidden_size=16, attn_layers=["local"], num_attention_heads=2, attention_head_size=8,
        feed_forward_size=32, max_position_embeddings=64, axial_pos_embds=False, is_decoder=False,
        local_attn_chunk_length=8,
    )  # fmt: skip
    model, source = of_kind(tmp_path / "model", config), films(tmp_path / "films.csv")
    wanted = of_text(source, model)
    grand = wanted.model_copy(update={"grid": wanted.grid.model_copy(update={"scores": ["grand"]})})
    assert refused(workspace, grand).startswith(f"The gradients of {model} cannot be taken sample by sample (")
    assert cells(workspace, do(workspace, wanted))["accuracy"].notna().all()


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    """A tokenizer that was extended beside a model that was not: an index error in the middle of a training."""
    folder = classifier(tmp_path / "bert", [*WORDS[:5], "the", "a", "was"])
    torch.manual_seed(0)
    BertForSequenceClassification(BertConfig(**SMALL | {"vocab_size": 7})).save_pretrained(folder)
    assert refused(workspace, of_text(films(tmp_path / "films.csv"), str(folder))).startswith(
        f"The tokenizer of {folder} writes token 7, and its model has embeddings for 0 to 6;"
    )


def test_columns_that_only_number_the_rows_are_recorded(workspace: Workspace, tmp_path: Path) -> None:
    """The provenance says what the networks read, what they did not, and why."""
    rows = [f"{i},{i * 7 % 11},{i * 7 % 11 / 2}" for i in range(60)]
    (tmp_path / "a.csv").write_text(",size,target\n" + "\n".join(rows) + "\n", encoding="utf-8")
    data = {"source": str(tmp_path / "a.csv"), "task": "numbers"}
    run = do(workspace, recipe(data=data, grid__scores=["random"], grid__fractions=[0.5], seeds=[0]))
    known = facts(workspace, run)
    assert known["columns_used"] == ["size", "target"]
    assert known["columns_not_used"] == ["column 1 (only numbers the rows)"]
    assert "; columns not used: column 1 (only numbers the rows)." in known["data_origin"]


def test_a_teacher_that_reads_in_another_way_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    """The same ids would be other words to it; said before anything is trained."""
    student = classifier(tmp_path / "student", WORDS)
    teacher = classifier(tmp_path / "teacher", [*WORDS[:2], *reversed(WORDS[2:])])
    ledger = Ledger(workspace)
    run, lock = ledger.start(
        recipe(
            data={"source": str(films(tmp_path / "films.csv")), "task": "text"},
            network={"model": str(student)},
            teachers={"self": {"model": str(teacher)}},
        )
    )
    assert execute(workspace, ledger, run, lock, device="cpu") == "failed"
    error = ledger.run(run.id).error
    assert error.startswith(f"The teacher self ({teacher}) and {student} do not share a tokenizer: ")
