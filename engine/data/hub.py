"""Rows of sets kept by the `datasets` library: on the Hub, or in a folder written by `save_to_disk`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from engine.common.errors import WinnowError
from engine.common.text import printable, reason
from engine.data.records import Records, plain_rows

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict, IterableDataset, IterableDatasetDict

BATCH_ROWS = 4096
STREAM_ROWS = 256  # rows that arrive together; they may be large images
ANSWER_SECONDS = 10.0  # how long the Hub may take to answer before it counts as out of reach


def read_hub(
    repository: str, split: str, skip: int, limit: int | None, config: str = "", streaming: bool = False
) -> Records:
    """Rows `skip` to `skip + limit` of a split of a dataset on the Hub, kept in the cache of `datasets`.

    `config` names one of several sets of a repository. `streaming` reads only those rows over the network, and keeps
    no copy. If the Hub cannot be reached, a set that has been read before comes from the cache. Raises WinnowError if
    there is no such set, no network and no copy, no such split, or if the set needs more to be loaded.
    """
    import datasets

    with explain_hub_errors(repository):
        revision, splits = _reach(repository, config or None, streaming)
    name = f"the Hub dataset {repository}" + (f", configuration {config}" if config else "")
    data = _split_of(splits, split, name)
    name += f", split {split}"
    name += f", revision {revision}" if revision else ", from the copy in the local cache"
    if isinstance(data, datasets.IterableDataset):
        with explain_hub_errors(repository):
            records = _stream(data, name, skip, limit)
    else:
        records = _slice(data, name, skip, limit)
    return replace(records, splits=[str(known) for known in splits])


def is_saved(folder: Path) -> bool:
    """Whether a folder was written by `save_to_disk`."""
    return (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file()


def read_saved(folder: Path, split: str, skip: int, limit: int | None) -> Records:
    """Rows `skip` to `skip + limit` of a split of a folder written by `save_to_disk`.

    Raises WinnowError if it is damaged or has no such split.
    """
    import datasets

    try:
        saved = datasets.load_from_disk(str(folder))
    except (datasets.exceptions.DatasetsError, pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise WinnowError(f"The saved set {folder} is damaged ({reason(error)}); save it again.") from error
    if isinstance(saved, datasets.DatasetDict):
        data = _split_of(saved, split, f"the saved set {folder}")
        records = _slice(data, f"the saved set {folder}, split {split}", skip, limit)
        return replace(records, splits=[str(known) for known in saved])
    if split not in ("train", str(saved.split)):
        raise WinnowError(f"{folder} is one saved set without a split {printable(split)}; leave the split out.")
    return _slice(saved, f"the saved set {folder}", skip, limit)


@contextmanager
def explain_hub_errors(repository: str) -> Iterator[None]:
    """Every error of the Hub, or on the way to it, becomes one sentence."""
    import httpx2
    from datasets.exceptions import DatasetsError
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    try:
        yield
    except GatedRepoError as error:
        raise WinnowError(
            f"The Hub gives {repository} only to people who have accepted its terms; accept them on its page, "
            "log in with `hf auth login`, or name a local file."
        ) from error
    except RepositoryNotFoundError as error:
        raise WinnowError(
            f"There is no file, folder or public Hub dataset called {repository}; check the name, "
            "or log in with `hf auth login` if it is private."
        ) from error
    except HfHubHTTPError as error:
        raise WinnowError(
            f"The Hub refused to give {repository} ({reason(error)}); try again later, or name a local file."
        ) from error
    except (httpx2.TransportError, ConnectionError) as error:
        raise WinnowError(
            f"There is no file or folder called {repository}, the Hub cannot be reached, and there is no earlier copy "
            "of a Hub dataset of that name; connect to the network, or name a local file."
        ) from error
    except (DatasetsError, pa.ArrowException, OSError, ValueError, RuntimeError) as error:
        raise WinnowError(
            f"The Hub dataset {repository} could not be loaded ({reason(error)}); "
            "if it needs more than its name, give its configuration in data.config if the recipe has that, or "
            "download the file you want from its page and name that file."
        ) from error


def _reach(
    repository: str, config: str | None, streaming: bool
) -> tuple[str | None, DatasetDict | IterableDatasetDict]:
    """Revision and splits on the Hub, else no revision and the splits of the local copy."""
    import datasets
    import httpx2
    from huggingface_hub import HfApi
    from huggingface_hub.errors import OfflineModeIsEnabled

    try:
        # Asked first because this answers at once; loading retries for half a minute when there is no network.
        revision = HfApi().dataset_info(repository, timeout=ANSWER_SECONDS).sha
    except (httpx2.TransportError, OfflineModeIsEnabled):
        return None, _load_cached(repository, config)
    return revision, datasets.load_dataset(repository, config, revision=revision, streaming=streaming)


def _load_cached(repository: str, config: str | None) -> DatasetDict:
    """The copy of an earlier load. Raises ConnectionError if there is none."""
    import datasets

    online = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = True  # else it would try to reach the Hub for half a minute first
    try:
        return datasets.load_dataset(repository, config)
    finally:
        datasets.config.HF_HUB_OFFLINE = online


def _split_of(splits: DatasetDict | IterableDatasetDict, split: str, name: str) -> Dataset | IterableDataset:
    if split not in splits:
        names = ", ".join(printable(str(known)) for known in splits)
        raise WinnowError(f"There is no split {printable(split)} in {name}; it has {names}.")
    return splits[split]


def _slice(data: Dataset, name: str, skip: int, limit: int | None) -> Records:
    total = len(data)
    stop = total if limit is None else min(total, skip + limit)
    arrow = data.with_format("arrow")  # as stored: images and sounds are not decoded
    rows: list[dict[str, Any]] = []
    try:
        for start in range(skip, stop, BATCH_ROWS):
            rows += plain_rows(arrow[start : min(start + BATCH_ROWS, stop)], name, start)
    except (pa.ArrowException, OSError) as error:
        raise WinnowError(f"A part of {name} cannot be read ({reason(error)}); load or save it again.") from error
    return Records(name, list(data.column_names), rows, skip, total, _class_names(data.features))


def _stream(data: IterableDataset, name: str, skip: int, limit: int | None) -> Records:
    part = data.skip(skip) if limit is None else data.skip(skip).take(limit)
    rows: list[dict[str, Any]] = []
    columns: list[str] = []
    for table in part.with_format("arrow").iter(STREAM_ROWS):  # as stored, again
        rows += plain_rows(table, name, skip + len(rows))
        columns = table.column_names
    return Records(name, columns, rows, skip, None, _class_names(data.features or {}))


def _class_names(features: Mapping[str, Any]) -> dict[str, list[str]]:
    from datasets import ClassLabel

    return {column: feature.names for column, feature in features.items() if isinstance(feature, ClassLabel)}
