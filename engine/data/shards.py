"""Sets that lie in several files: those that match a pattern, or those of a folder, sorted by split as on the Hub."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from engine.common.errors import WinnowError
from engine.common.text import printable, reason
from engine.data.files import kind_of_file

SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
"""Words in the name of a file, or names of folders, that tell the split; as on the Hub."""

_NOTES = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")  # about the set, not of it
_SHARD = re.compile(r"(?P<stem>.+)[-_](?P<number>[0-9]{1,9})[-_]of[-_](?P<total>[0-9]{1,9})(?![0-9])(?P<rest>.*)")


def is_pattern(source: str) -> bool:
    """Whether it stands for files by * or the like; a file that is really called so is no pattern."""
    try:
        return any(mark in source for mark in "*?[") and not Path(source).expanduser().exists()
    except (OSError, RuntimeError):
        return True  # following it raises the error


def matching_files(pattern: str) -> list[Path]:
    """The files that match, sorted by path; as in a shell, hidden ones only match a pattern that begins with a dot.

    Raises WinnowError if there is none, or one of "-of-00003" is missing.
    """
    try:
        path = Path(pattern).expanduser().absolute()
        matches = Path(path.anchor).glob(str(path.relative_to(path.anchor)))
        hidden = path.name.startswith(".")
        found = sorted(match for match in matches if match.is_file() and (hidden or not match.name.startswith(".")))
    except (ValueError, OSError, RuntimeError) as error:
        raise WinnowError(
            f"The pattern {printable(pattern)} cannot be followed ({reason(error)}); use * for any part of a name."
        ) from error
    if not found:
        raise WinnowError(f"No file matches the pattern {printable(str(path))}; check the folder and the name.")
    _require_whole(found, lambda missing: missing.match(path.name))
    return found


def files_by_split(folder: Path) -> dict[str, list[Path]]:
    """The data files of a folder by split, sorted; all under "" if no name tells a split, none if there are none.

    They lie in the folder itself, in its folder `data`, or in folders that are called as the splits. If some names
    tell a split, files that tell none belong to none.

    Raises WinnowError if more than one of these places holds files.
    """
    inside = [entry for entry in sorted(folder.iterdir()) if entry.is_dir()]
    places = {
        "itself": _sorted_by_split(_data_files(folder)),
        "in data": _sorted_by_split(_data_files(folder / "data")) if (folder / "data").is_dir() else {},
        "in folders of splits": {
            split: files for entry in inside if (split := split_of_word(entry.name)) and (files := _data_files(entry))
        },
    }
    used = [place for place, found in places.items() if found]
    if len(used) > 1:
        raise WinnowError(
            f"{folder} holds data files both {used[0]} and {used[1]}; name those to be read by a pattern such as "
            f"{folder / 'train-*.parquet'}."
        )
    return places[used[0]] if used else {}


def require_one_set(folder: Path, files: Sequence[Path]) -> None:
    """Raise WinnowError if the files of a split are of several kinds, or if one of "-of-00003" is missing."""
    kinds = sorted({path.name[path.name.lower().rindex(kind_of_file(path.name)) :].lower() for path in files})
    if len(kinds) > 1:
        raise WinnowError(
            f"{folder} holds files that end in {' and '.join(kinds)}, and they could hold the same rows; name those to "
            f"be read by a pattern such as {files[0].parent / f'*{kinds[0]}'}."
        )
    _require_whole(files, lambda missing: True)


def _data_files(folder: Path) -> list[Path]:
    return [
        entry
        for entry in sorted(folder.iterdir())
        if kind_of_file(entry.name) and entry.name not in _NOTES and entry.name[0] not in "._" and entry.is_file()
    ]


def _sorted_by_split(files: Iterable[Path]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in files:
        found.setdefault(_split_of_file(path.name), []).append(path)
    return {split: paths for split, paths in found.items() if split} or found


def _split_of_file(name: str) -> str:
    shard = _SHARD.fullmatch(name)
    if shard and re.fullmatch(r"\w+", shard["stem"]):  # "train_sft-00000-of-00003.parquet" says its split itself
        return shard["stem"]
    stem = shard["stem"] if shard else name[: name.lower().rindex(kind_of_file(name))]
    words = re.split(r"[-._ 0-9]+", stem)
    return next((split for word in words if (split := split_of_word(word))), "")


def split_of_word(word: str) -> str:
    """The split that a word in a name stands for, or ""."""
    return next((split for split, names in SPLIT_NAMES.items() if word.lower() in names), "")


def _require_whole(files: Sequence[Path], wanted: Callable[[Path], bool]) -> None:
    """Raise WinnowError if a shard that is wanted is missing, or if there are two of one number."""
    sets: dict[tuple[Path, str, str], dict[tuple[int, int], Path]] = {}
    for path in files:
        if not (shard := _SHARD.fullmatch(path.name)):
            continue
        number, total = int(shard["number"]), int(shard["total"])
        known = sets.setdefault((path.parent, shard["stem"], path.suffix), {})
        other = next((known[key] for key in known if key[0] == number or key[1] != total), None)
        if other:
            raise WinnowError(
                f"{path} and {other.name} do not belong to one set of shards; keep those of one set, or name them by a "
                "pattern."
            )
        known[number, total] = path
    for found in sets.values():
        total = next(iter(found))[1]
        numbers = {number for number, _ in found}
        first = 1 if total in numbers and 0 not in numbers else 0
        example = next(iter(found.values()))
        for number in range(first, first + total):
            if number not in numbers and wanted(missing := _of_number(example, number)):
                raise WinnowError(
                    f"{missing} is missing: {len(found):,} of {total:,} shards are there; get it, or name those that "
                    "you have by a pattern that leaves it out."
                )


def _of_number(path: Path, number: int) -> Path:
    shard = _SHARD.fullmatch(path.name)
    assert shard is not None
    start, end = shard.span("number")
    return path.with_name(f"{path.name[:start]}{number:0{end - start}}{path.name[end:]}")
