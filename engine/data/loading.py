"""Opening a source: from its name to its rows, whatever holds them."""

from __future__ import annotations

import difflib
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.common.errors import WinnowError
from engine.common.text import printable, reason
from engine.data.files import SUFFIXES, kind_of_file, read_file
from engine.data.hub import is_saved, read_hub, read_saved
from engine.data.image_folders import images_by_split, read_images
from engine.data.records import Records, joined
from engine.data.shards import files_by_split, is_pattern, matching_files, require_one_set

DEMO = "demo"
DEMO_CORPUS = "demo-corpus"  # clean rows of the same tasks, none of them in the demo set
DEMO_CORPUS_ROWS = 12_000  # if no limit is given; the program could go on
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)


def load_records(
    source: str,
    split: str = "train",
    skip: int = 0,
    limit: int | None = None,
    config: str = "",
    streaming: bool = False,
) -> Records:
    """The same slice with the columns as they are. Raises WinnowError if it is empty or cannot be read.

    `config` names one of several sets of a Hub dataset. `streaming` reads no more of it than the slice; what lies on
    this machine is read so anyway.
    """
    return joined(load_parts(source, split, skip, limit, config, streaming), skip)


def load_parts(
    source: str,
    split: str = "train",
    skip: int = 0,
    limit: int | None = None,
    config: str = "",
    streaming: bool = False,
) -> list[Records]:
    """`load_records` with a slice for each file; a file before or behind the slice gives an empty one."""
    parts = _load(source, split, skip, limit, config, streaming)
    for part in parts:
        twice = [column for column, count in Counter(part.columns).items() if count > 1]
        if twice:
            raise WinnowError(f"Two columns of {part.name} are called {printable(twice[0])}; rename one of them.")
    if not any(part.rows for part in parts):
        whole = joined(parts, skip)
        if whole.total:
            raise WinnowError(f"After skipping {skip:,} rows none is left in {whole.name}, which has {whole.total:,}.")
        raise WinnowError(f"There are no rows in {whole.name}; choose another.")
    return parts


def _load(source: str, split: str, skip: int, limit: int | None, config: str, streaming: bool) -> list[Records]:
    if source in (DEMO, DEMO_CORPUS):
        require_train(split, "The demo")
        return [_demo(source, skip, limit)]
    if is_pattern(source):
        require_train(split, f"A pattern of files ({printable(source)})")
        return _read_files(matching_files(source), skip, limit)
    path = local_path(source)
    if path.is_dir():
        return [read_saved(path, split, skip, limit)] if is_saved(path) else _read_folder(path, split, skip, limit)
    if path.is_file():
        require_train(split, str(path))
        return [read_file(path, skip, limit)]
    if _HUB_ID.fullmatch(source) and not kind_of_file(source):
        return [read_hub(source, split, skip, limit, config, streaming)]
    raise WinnowError(_missing(path))


def has_splits(source: str) -> bool:
    """Whether one of several splits is read, so that its name must be known."""
    if source in (DEMO, DEMO_CORPUS) or is_pattern(source):
        return False
    path = local_path(source)
    if path.is_dir():
        return (
            (path / "dataset_dict.json").is_file()
            if is_saved(path)
            else not any("" in found for found in _splits_of(path))
        )
    return not path.is_file()


def local_path(source: str) -> Path:
    """The path of that name, whether it is there or not. Raises WinnowError if nothing can be called so."""
    try:
        path = Path(source).expanduser().absolute()
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, RuntimeError, ValueError) as error:
        raise WinnowError(f"Nothing can be read at {printable(source)} ({reason(error)}); check the path.") from error
    return path


def _read_folder(folder: Path, split: str, skip: int, limit: int | None) -> list[Records]:
    files, images = _splits_of(folder)
    found = files or images
    if not found:
        raise WinnowError(
            f"{folder} is a folder, but was not written by the `save_to_disk` of datasets, and holds no data files "
            f"({', '.join(SUFFIXES)}), also not in a folder data or in folders of splits, and no folders of images; "
            "name a file or a pattern."
        )
    if "" in found:
        require_train(split, f"The folder {folder}")
    elif split not in found:
        raise WinnowError(
            f"There is no split {printable(split)} in the files of the folder {folder}; it has "
            f"{', '.join(map(printable, found))}."
        )
    chosen = "" if "" in found else split
    if files:
        require_one_set(folder, files[chosen])
        parts = _read_files(files[chosen], skip, limit)
    else:
        name = f"the image folder {folder}" + (f", split {split}" if chosen else "")
        parts = [read_images(name, images[chosen], skip, limit)]
    parts[0].splits = [name for name in found if name]
    return parts


def _splits_of(folder: Path) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
    """Data files by split, and if there are none images by split."""
    try:
        files = files_by_split(folder)
        return files, {} if files else images_by_split(folder)
    except OSError as error:
        raise WinnowError(f"{folder} cannot be read ({reason(error)}); check your rights.") from error


def _read_files(files: Sequence[Path], skip: int, limit: int | None) -> list[Records]:
    """A slice of each file. Raises WinnowError if two do not have the same columns."""
    parts: list[Records] = []
    for path in files:
        before = sum(part.total or 0 for part in parts)
        left = None if limit is None else limit - sum(len(part.rows) for part in parts)
        parts.append(read_file(path, max(skip - before, 0), left))
        more = set(parts[-1].columns) ^ set(parts[0].columns)
        if more and kind_of_file(path.name) not in (".json", ".jsonl"):  # there a column may be missing if it is null
            raise WinnowError(
                f"{parts[-1].name} and {parts[0].name} have different columns: only one of them has "
                f"{printable(min(more))}; give all files the same, or read those that have."
            )
    return parts


def require_train(split: str, name: str) -> None:
    if split != "train":
        raise WinnowError(f"{name} has no splits, so there is no split {printable(split)}; leave the split out.")


def _missing(path: Path) -> str:
    listable = path.parent.is_dir() and os.access(path.parent, os.R_OK | os.X_OK)
    beside = [entry.name for entry in path.parent.iterdir()] if listable else []
    close = difflib.get_close_matches(path.name, beside, n=1)
    hint = f"did you mean {printable(close[0])}?" if close else "check the path, or write a Hub dataset as owner/name."
    return f"There is no file {path}; {hint}"


def _demo(source: str, skip: int, limit: int | None) -> Records:
    from engine.data.demo.instructions import demo_corpus, demo_samples

    if source == DEMO_CORPUS:
        written = demo_corpus(DEMO_CORPUS_ROWS if limit is None else skip + limit)
        name, total = "the text corpus of Winnow's own demo", None
    else:
        written = demo_samples()
        name, total = "Winnow's own demo set", len(written)
    rows: list[dict[str, Any]] = [dict(row) for row in written[skip : None if limit is None else skip + limit]]
    return Records(name, list(written[0]), rows, skip, total)
