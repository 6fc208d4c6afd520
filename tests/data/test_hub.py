"""Sets kept by `datasets`: on the Hub, within reach and out of it, and in saved folders."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import httpx2
import huggingface_hub
import pytest

from engine.common.errors import WinnowError
from engine.common.paths import CHECKOUT
from engine.data.loading import load_records
from engine.data.sources import read_rows

ROWS = [{"instruction": f"Say {i}", "output": str(i)} for i in range(20)]


@pytest.fixture(scope="module")
def visits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What reading from a stand-in for the Hub gave, while it was there and after it had gone."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment |= {
        "HF_HOME": str(tmp_path_factory.mktemp("hub")),
        "PYTHONPATH": str(CHECKOUT),
        "NO_PROXY": "127.0.0.1",
    }
    script = CHECKOUT / "tests" / "fixtures" / "stand_in_hub.py"
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return {"log": done.stderr, **json.loads(done.stdout)}


def test_a_slice_of_a_hub_dataset(visits: dict[str, Any]) -> None:
    """The wanted rows arrive, and the revision they came from is kept."""
    found = visits["open"]["winnow/tiny train"]
    assert found["rows"] == ["5", "6", "7"]
    assert found["origin"] == (
        f"Rows 5 to 7 of 50, counted from 0, from the Hub dataset winnow/tiny, split train, revision {'a' * 40}."
    )


def test_out_of_reach_the_earlier_copy_is_read(visits: dict[str, Any]) -> None:
    """A run can be repeated on a train, and without half a minute of retries first."""
    found = visits["closed"]["winnow/tiny train"]
    assert found["rows"] == ["5", "6", "7"]
    assert found["origin"].endswith("from the Hub dataset winnow/tiny, split train, from the copy in the local cache.")
    assert "Retrying" not in visits["log"]


@pytest.mark.parametrize(
    ("when", "what", "sentence"),
    [
        ("open", "winnow/tiny test", "There is no split test in the Hub dataset winnow/tiny; it has train."),
        ("closed", "winnow/tiny test", "There is no split test in the Hub dataset winnow/tiny; it has train."),
        (
            "open",
            "winnow/none train",
            "There is no file, folder or public Hub dataset called winnow/none; check the name",
        ),
        ("open", "winnow/gated train", "The Hub gives winnow/gated only to people who have accepted its terms;"),
        ("open", "winnow/busy train", "The Hub refused to give winnow/busy ("),
        (
            "closed",
            "winnow/none train",
            "There is no file or folder called winnow/none, the Hub cannot be reached, and",
        ),
    ],
)
def test_what_the_hub_does_not_give(visits: dict[str, Any], when: str, what: str, sentence: str) -> None:
    """No such set, no such split, a set behind terms, a refusal and no network are told apart in one sentence."""
    message = visits[when][what]["sentence"]
    assert message.startswith(sentence)
    assert message.endswith(".")
    assert "\n" not in message


def test_a_labelled_set_is_streamed(visits: dict[str, Any]) -> None:
    """Only the first rows of each split arrive, from one revision, and no copy of the files is kept."""
    found = visits["labelled"]["test"]
    assert found["labels"] == [*(i * 2.5 for i in range(12)), 250.0, 252.5, 255.0]
    assert found["rows"] == list(range(15))
    source = f"the Hub dataset winnow/signs, split {{}}, revision {'a' * 40}"
    assert found["origin"] == (
        f"11 for training, 1 for validation, 3 for testing: rows of {source.format('train')}, test set from "
        f"{source.format('test')}, labels from column target."
    )
    assert visits["labelled"][""]["labels"] == [i * 2.5 for i in range(12)]
    assert visits["copies"] == []


@pytest.mark.parametrize(
    ("split", "sentence"),
    [
        ("final", "There is no split final to test on in winnow/signs, which has train, test; set data.test_split to"),
        ("train", "Training and testing would use the same rows of winnow/signs; choose another data.test_source or"),
        ("closed", "There is no file or folder called winnow/signs, the Hub cannot be reached, and there is no"),
    ],
)
def test_labelled_sets_the_hub_does_not_give(visits: dict[str, Any], split: str, sentence: str) -> None:
    """A test split that is missing or the training split itself, and no network, are one sentence each."""
    assert visits["labelled"][split]["sentence"].startswith(sentence)


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.usefixtures("no_copies")
def test_images_and_classes_of_a_hub_set(streaming: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images arrive as they are stored, not decoded, and the names of classes and splits come with them."""
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["ant", "bee"])})
    rows = [{"image": {"bytes": b"no image %d" % i, "path": None}, "label": i % 2} for i in range(9)]
    datasets.Dataset.from_list(rows, features=features).to_parquet(tmp_path / "a.parquet")
    load = datasets.load_dataset

    def local(_: str, config: str | None, revision: str, streaming: bool) -> Any:
        assert (config, revision) == ("small", "abc")
        return load("parquet", data_files={"train": str(tmp_path / "a.parquet")}, streaming=streaming)

    about = huggingface_hub.DatasetInfo(id="a/b", sha="abc")
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda *_, **__: about)
    monkeypatch.setattr(datasets, "load_dataset", local)
    records = load_records("a/b", skip=2, limit=5, config="small", streaming=streaming)
    assert records.name == "the Hub dataset a/b, configuration small, split train, revision abc"
    assert records.rows == rows[2:7]
    assert records.columns == ["image", "label"]
    assert records.class_names == {"label": ["ant", "bee"]}
    assert records.splits == ["train"]
    assert records.total == (None if streaming else 9)


@pytest.fixture
def no_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)


@pytest.mark.usefixtures("no_copies")
@pytest.mark.parametrize("error", [httpx2.ConnectError("no route"), httpx2.ConnectTimeout("silence")])
def test_no_network(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cable that is not plugged in and one that leads nowhere give the same sentence."""

    def unreachable(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", unreachable)
    with pytest.raises(
        WinnowError, match=r"the Hub cannot be reached, .* connect to the network, or name a local file\.$"
    ):
        read_rows("winnow/nowhere")
    assert datasets.config.HF_HUB_OFFLINE == huggingface_hub.constants.HF_HUB_OFFLINE


@pytest.mark.usefixtures("no_copies")
def test_offline_by_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """HF_HUB_OFFLINE is respected: nothing is asked of the network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WinnowError, match=r"called winnow/nowhere, the Hub cannot be reached"):
        read_rows("winnow/nowhere")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("Config name is missing.\nPick one among a, b"),
        RuntimeError("Dataset scripts are no longer supported"),
    ],
)
def test_a_set_that_needs_more_than_its_name(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason of the library is passed on, in one line, with a way out."""

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda *_, **__: huggingface_hub.DatasetInfo(id="a/b"))
    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(WinnowError) as caught:
        read_rows("winnow/odd")
    reason = str(error).splitlines()[0].rstrip(".")
    assert str(caught.value).startswith(f"The Hub dataset winnow/odd could not be loaded ({reason}); if it needs more")


def test_saved_folders(tmp_path: Path) -> None:
    """A saved set and a saved set of splits are read like any other source."""
    data = datasets.Dataset.from_list(ROWS)
    data.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"train": data.select([3, 1, 2]), "test": data}).save_to_disk(tmp_path / "many")
    assert [row["response"] for row in read_rows(str(tmp_path / "one"), skip=18, limit=9).rows] == ["18", "19"]
    assert [row["response"] for row in read_rows(str(tmp_path / "many")).rows] == ["3", "1", "2"]
    rows = read_rows(str(tmp_path / "many"), split="test", limit=1)
    assert rows.rows[0]["response"] == "0"
    assert rows.origin == f"Rows 0 to 0 of 20, counted from 0, from the saved set {tmp_path / 'many'}, split test."


def test_saved_folders_that_cannot_be_read(tmp_path: Path) -> None:
    """Another folder, a missing split and a damaged set are told apart."""
    data = datasets.Dataset.from_list(ROWS)
    for name in ("one", "torn", "empty"):
        data.save_to_disk(tmp_path / name)
    datasets.DatasetDict({"train": data}).save_to_disk(tmp_path / "many")
    torn = next((tmp_path / "torn").glob("*.arrow"))
    torn.write_bytes(b"not arrow at all")
    (tmp_path / "empty" / "state.json").write_text("{}")
    (tmp_path / "other").mkdir()
    for folder, split, words in (
        ("other", "train", "is a folder, but was not written by the `save_to_disk` of datasets"),
        ("many", "valid", "There is no split valid in the saved set"),
        ("one", "valid", "is one saved set without a split valid; leave the split out."),
        ("torn", "train", "is damaged"),
        ("empty", "train", "is damaged"),
    ):
        with pytest.raises(WinnowError) as caught:
            read_rows(str(tmp_path / folder), split=split)
        assert words in str(caught.value)
        assert str(tmp_path / folder) in str(caught.value)
        assert "\n" not in str(caught.value)
