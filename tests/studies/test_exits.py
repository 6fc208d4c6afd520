"""Whole runs whose student is the teacher cut short: what they record, and that every place finds the student again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from engine.analysis.model_pairs import model_size, pairs, shared
from engine.api import score
from engine.data.samples import encode_rows
from engine.data.sources import Row
from engine.models.loading import load_model, load_tokenizer
from engine.runtime.recipe_check import check_recipe
from engine.runtime.trace import trace
from engine.storage.ledger import Ledger, Run
from engine.storage.workspace import Workspace, open_workspace
from tests.fixtures.studies import do, table
from tests.fixtures.tiny import tiny_recipe, write_rows
from tests.studies.test_pruning_models import ATTENTION, llama, problems, recipe, saved

TEXT = {"instruction": "Say stone 4 times.", "input": "", "response": "stone stone stone stone"}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Run]:
    """One finished study of a teacher of two layers that teaches its first."""
    folder = tmp_path_factory.mktemp("exits")
    workspace = open_workspace(folder / "workspace", read_only=False)
    asked = tiny_recipe(write_rows(folder / "rows.jsonl"), seeds=[0], models__student="exit:1")
    run = Ledger(workspace).run(do(workspace, asked))
    assert run.state == "done", run.error
    return workspace, run


Study = tuple[Workspace, Run]


def test_it_is_scored_trained_and_recorded(study: Study) -> None:
    workspace, run = study
    facts = run.provenance
    assert facts["student_source"] == facts["teacher_source"]
    assert facts["student_hash"] == f"{facts['teacher_hash']}:exit:1"
    assert 0 < facts["student_parameters"] < facts["teacher_parameters"]
    assert "student_own_logits" not in facts
    metrics = table(workspace, run.id, "metrics")
    loss = metrics[(metrics.arm == "full") & (metrics.split == "valid") & (metrics.name == "loss")].set_index("epoch")
    assert loss.value[3] < loss.value[0]


def test_its_scores_are_those_of_the_teacher_s_own_states(study: Study) -> None:
    workspace, run = study
    scores, samples = table(workspace, run.id, "scores"), table(workspace, run.id, "samples").set_index("row")
    found = scores[(scores.arm == "base") & (scores.metric == "kl")].set_index("row").value
    source = run.provenance["teacher_source"]
    net = load_model("scratch:teacher", source, torch.float32, torch.device("cpu")).model
    tokenizer = load_tokenizer(source)
    for row in list(found.index[:5]):
        text = samples.loc[row]
        one: Row = {
            "row": row, "instruction": text.instruction, "input": text.input, "response": text.response, "system": "",
            "turns": [], "fields": {},
        }  # fmt: skip
        [sample] = encode_rows([one], "plain", tokenizer, 48)
        assert not isinstance(sample, str)
        with torch.no_grad():
            states = net(torch.tensor(sample.input_ids[None]), output_hidden_states=True).hidden_states
            first, last = net.get_decoder().norm(states[1][0]), states[-1][0]
            log_s, log_t = ((state.double() @ net.lm_head.weight.double().T).log_softmax(-1) for state in (first, last))
        assert found[row] == pytest.approx((log_t.exp() * (log_t - log_s)).sum(-1).mean().item(), rel=1e-4)


@pytest.mark.parametrize("student", ["base", "dynamic"])
def test_try_your_own_cuts_the_teacher_again(study: Study, student: str) -> None:
    workspace, run = study
    found = trace(workspace, Ledger(workspace), {"run": run.id, "student": student, **TEXT})
    assert (found["student"], found["teacher"]) == ("exit:1", "scratch:teacher")
    assert found["metrics"]["kl"] > 0


def test_the_page_of_models_says_what_it_is(study: Study) -> None:
    """It takes no memory of its own; cut elsewhere it is another pair."""
    _, run = study
    [pair] = pairs([run])
    assert pair.student.origin == "The teacher cut after layer 1, with its own last norm and head"
    assert model_size(pair.student, "float32").endswith(" parameters · all of them the teacher's")
    assert "times the student" in shared(pair)
    other = tiny_recipe(Path("rows.jsonl"), models__student="exit:1").model_dump() | {"name": "other"}
    other["models"]["student"] = "exit:7"
    assert len(pairs([run, Run(**(run.__dict__ | {"recipe": other}))])) == 2


def test_the_check_knows_its_size_and_where_it_cannot_be_cut(workspace: Workspace, tmp_path: Path) -> None:
    """Before anything is made, of models from scratch too; its weights are counted once."""
    rows = write_rows(tmp_path / "rows.jsonl")
    asked = tiny_recipe(rows, models__student="exit:1")
    found = check_recipe(workspace, Ledger(workspace), {"recipe": asked.model_dump()})
    assert found["ok"], found["problems"]
    assert found["student"]["name"] == "exit:1"
    assert found["student"]["parameters"] < found["teacher"]["parameters"]
    own = check_recipe(workspace, Ledger(workspace), {"recipe": tiny_recipe(rows).model_dump()})
    assert found["memory_bytes"] - own["memory_bytes"] == pytest.approx(
        48 * 8 * 48 * (48 - 24) - 4 * own["student"]["parameters"]
    )
    deep = tiny_recipe(rows, models__student="exit:2")
    assert problems(workspace, deep) == [
        "models.student is exit:2, and the teacher scratch:teacher has 2 layers: write exit:LAYER with a whole number "
        "from 1 to 1."
    ]
    run = Ledger(workspace).run(do(workspace, deep))
    assert run.state == "failed"
    assert "has 2 layers" in str(run.error)
    assert not list(workspace.models.glob("teacher*"))


def test_a_folder_is_cut_too(workspace: Workspace, tmp_path: Path) -> None:
    """If it has one layer it is refused by the check, and by the run before anything is scored."""
    torch.manual_seed(0)
    two = saved(tmp_path / "two", LlamaForCausalLM(LlamaConfig(**(ATTENTION | {"num_hidden_layers": 2}))))
    asked = recipe(tmp_path, two, "exit:1")
    assert problems(workspace, asked) == []
    run = Ledger(workspace).run(do(workspace, asked))
    assert run.state == "done", run.error
    one = recipe(tmp_path, llama(tmp_path / "one"), "exit:1")
    assert "has only 1 layer, so there is nothing to cut" in problems(workspace, one)[0]
    run = Ledger(workspace).run(do(workspace, one))
    assert "has only 1 layer" in str(run.error)
    assert not Ledger(workspace).parts(run.id)


def test_the_interface_takes_it(study: Study) -> None:
    """As the run has scored it."""
    workspace, run = study
    scores, samples = table(workspace, run.id, "scores"), table(workspace, run.id, "samples").set_index("row")
    known = scores[(scores.arm == "base") & (scores.metric == "kl")].set_index("row").value
    rows = samples.loc[known.index, ["instruction", "input", "response"]].head(8)
    found = score(rows, run.provenance["teacher_source"], "exit:1", template="plain", max_length=48)
    np.testing.assert_allclose(found.kl, known.head(8), rtol=1e-5)
