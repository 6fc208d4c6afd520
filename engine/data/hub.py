"""Rows of sets kept by the `datasets` library: on the Hub, or in a folder written by `save_to_disk`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from engine.data.records import Records, plain_rows, printable, reason
from engine.workspace import WinnowError

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

BATCH_ROWS = 4096
ANSWER_SECONDS = 10.0  # how long the Hub may take to answer before it counts as out of reach


def read_hub(repository: str, split: str, skip: int, limit: int | None) -> Records:
    """Rows `skip` to `skip + limit` of a split of a dataset on the Hub, kept in the cache of `datasets`.

    Out of reach of the Hub, a set that has been read before comes from that cache. Raises WinnowError where there
    is no such set, no network and no copy, no such split, or where the set needs more than its name to be loaded.
    """
    import httpx2
    from datasets.exceptions import DatasetsError
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, OfflineModeIsEnabled, RepositoryNotFoundError

    revision = None
    try:
        try:
            # Asked first because this answers at once; loading retries for half a minute when there is no network.
            revision = HfApi().dataset_info(repository, timeout=ANSWER_SECONDS).sha
        except (httpx2.TransportError, OfflineModeIsEnabled):
            splits = _load_cached(repository)
        else:
            splits = _load(repository, revision)
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
            "if it needs more than its name, download the file you want from its page and name that file."
        ) from error
    name = f"the Hub dataset {repository}, split {split}"
    name += f", revision {revision}" if revision else ", from the copy in the local cache"
    return _slice(_split_of(splits, split, f"the Hub dataset {repository}"), name, skip, limit)


def read_saved(folder: Path, split: str, skip: int, limit: int | None) -> Records:
    """Rows `skip` to `skip + limit` of a split of a folder written by `save_to_disk`.

    Raises WinnowError where the folder is something else or broken, or has no such split.
    """
    if not (folder / "state.json").is_file() and not (folder / "dataset_dict.json").is_file():
        raise WinnowError(
            f"{folder} is a folder, but none that was written by the `save_to_disk` of datasets; name a file inside it."
        )
    import datasets

    try:
        saved = datasets.load_from_disk(str(folder))
    except (datasets.exceptions.DatasetsError, pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise WinnowError(f"The saved set {folder} is not whole ({reason(error)}); save it again.") from error
    if isinstance(saved, datasets.DatasetDict):
        data = _split_of(saved, split, f"the saved set {folder}")
        return _slice(data, f"the saved set {folder}, split {split}", skip, limit)
    if split not in ("train", str(saved.split)):
        raise WinnowError(f"{folder} is one saved set without a split {printable(split)}; leave the split out.")
    return _slice(saved, f"the saved set {folder}", skip, limit)


def _load(repository: str, revision: str | None) -> DatasetDict:
    import datasets

    return datasets.load_dataset(repository, revision=revision)


def _load_cached(repository: str) -> DatasetDict:
    """The copy of an earlier load. Raises ConnectionError where there is none."""
    import datasets

    online = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = True  # else it would try to reach the Hub for half a minute first
    try:
        return datasets.load_dataset(repository)
    finally:
        datasets.config.HF_HUB_OFFLINE = online


def _split_of(splits: DatasetDict, split: str, name: str) -> Dataset:
    if split not in splits:
        there = ", ".join(printable(str(known)) for known in splits)
        raise WinnowError(f"There is no split {printable(split)} in {name}; it has {there}.")
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
    return Records(name, list(data.column_names), rows, skip, total)
