"""Which files of a folder belong to which split of which configuration, as on the hub.

The README's `configs` come first; else folders and file names tell, as they do for `datasets`.
Must not open any table.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from glob import glob
from pathlib import Path

from data.errors import DataError
from data.sources.split_names import split_of
from data.sources.tables.hub_readme import (
    DEFAULT,
    README,
    Features,
    list_patterns,
    read_features,
    read_front_matter,
)
from data.splits import TRAIN

DEEPEST = 2
"""Tables lie in the folder, or at most so many folders below it."""
WORDS = "train|training|validation|valid|val|dev|test|testing|eval|evaluation"
PARTIAL = "partial-"
"""What the hub puts before the split of which it converted a part."""
SHARD = re.compile(r"(\w+)-\d+-of-\d+.*")
WORD = re.compile(rf"(?:.*[-._ 0-9])??({WORDS})(?:[-._ 0-9].*)?", re.IGNORECASE)

Splits = dict[str, tuple[Path, ...]]


@dataclass(frozen=True)
class Layout:
    """The files of one configuration, by the source's own names of its splits.

    `others` belong to other configurations; `features` is what the README says of columns, as
    `datasets` writes it into a schema.
    """

    splits: Splits
    others: tuple[Path, ...] = ()
    features: Features = field(default_factory=dict)


def list_tables(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """List the files with one of the endings that lie where tables do, hidden ones apart.

    Raises:
        DataError: a folder cannot be read.
    """

    def reject(error: OSError) -> None:
        raise DataError(
            f"data.source: '{error.filename}' cannot be read ({error.strerror}); repair that "
            "or move it away"
        ) from error

    found: list[Path] = []
    for current, folders, names in os.walk(folder, onerror=reject, followlinks=True):
        is_deepest = len(Path(current).relative_to(folder).parts) == DEEPEST
        folders[:] = [] if is_deepest else [n for n in folders if not n.startswith(".")]
        found += [
            Path(current, name)
            for name in names
            if name.lower().endswith(suffixes) and not name.startswith(".")
        ]
    return sorted(found)


def read_layout(
    folder: Path, files: Sequence[Path], *, suffix: str, configuration: str | None
) -> Layout | None:
    """Assigns table files to splits and chooses the configuration.

    Args:
        folder: the source.
        files: its tables of one kind.
        suffix: their ending: the README may name more of them.
        configuration: the one to use; none: the only or default one.

    Returns:
        None where there are no such tables.

    Raises:
        DataError: there is no such configuration, or none is chosen of several.
    """
    found, default = _read_configurations(folder, suffix=suffix)
    found = found or _infer_configurations(folder, files)
    if not found:
        return None
    chosen = choose_configuration(
        tuple(found), source=str(folder), chosen=configuration, default=default
    )
    used = {path for paths in found[chosen].values() for path in paths}
    every = {path for splits in found.values() for paths in splits.values() for path in paths}
    others = tuple(sorted((every | set(files)) - used))
    return Layout(found[chosen], others, read_features(folder, chosen))


def choose_configuration(
    names: Sequence[str], *, source: str, chosen: str | None, default: str | None = None
) -> str:
    """Chooses one of a source's configurations.

    Raises:
        DataError: there is no such configuration, or none is chosen of several.
    """
    if chosen is None:
        if len(names) == 1:
            return names[0]
        chosen = default or DEFAULT
        if chosen in names:
            return chosen
        raise DataError(
            f"data.configuration must be set where a source has several, '{source}' has "
            f"{', '.join(names)}; set it to one of them"
        )
    if chosen not in names:
        raise DataError(
            f"data.configuration must be a configuration of '{source}', got '{chosen}'; "
            f"it has {', '.join(names)}"
        )
    return chosen


def _read_configurations(folder: Path, *, suffix: str) -> tuple[dict[str, Splits], str | None]:
    """The configurations that the README gives, if any has such tables, and its default."""
    entries = read_front_matter(folder).get("configs")
    if not isinstance(entries, list):
        return {}, None
    found: dict[str, Splits] = {}
    default = None
    try:
        for entry in entries:
            name = str(entry.get("config_name", DEFAULT))
            found[name] = _resolve(folder, entry, suffix=suffix)
            if entry.get("default"):
                default = name
    except (AttributeError, KeyError, TypeError) as error:
        raise DataError(
            f"data.source: '{folder / README}' must list its configs as the hub does, it has "
            f"{type(error).__name__}: {error}; correct or remove its head"
        ) from error
    # Others are of another kind, or not downloaded.
    return {name: splits for name, splits in found.items() if any(splits.values())}, default


def _resolve(folder: Path, entry: dict[str, object], *, suffix: str) -> Splits:
    base = folder / str(entry.get("data_dir") or "")
    given = entry.get("data_files")
    if not base.is_dir():
        return {}
    if given is None:
        inside = [path for path in list_tables(base, (suffix,)) if _is_inside(path, folder)]
        return _name_splits(base, inside)
    by_split: dict[str, list[Path]] = {}
    for split, patterns in list_patterns(given):
        matches = [
            Path(base, name)
            for pattern in patterns
            for name in sorted(glob(pattern, root_dir=base, recursive=True))
        ]
        by_split.setdefault(split, []).extend(
            path
            for path in dict.fromkeys(matches)
            if path.name.lower().endswith(suffix) and _is_inside(path, folder)
        )
    return {split: tuple(paths) for split, paths in by_split.items()}


def _is_inside(path: Path, folder: Path) -> bool:
    """Links are followed, as everywhere in a source, but no `..` leads out of it."""
    return path.is_file() and Path(os.path.normpath(path)).is_relative_to(os.path.normpath(folder))


def _infer_configurations(folder: Path, files: Sequence[Path]) -> dict[str, Splits]:
    grouped: dict[str, list[Path]] = {}
    for path in files:
        folders = path.parent.relative_to(folder).parts
        named = [part for part in folders if part != "data" and not _means_split(part)]
        grouped.setdefault("/".join(named) or DEFAULT, []).append(path)
    return {name: _name_splits(folder, paths) for name, paths in grouped.items()}


def _name_splits(folder: Path, files: Sequence[Path]) -> Splits:
    names = {path: _name_split(path, folder) for path in files}
    # Where no name tells a split, all is train; else such a file is a split of its own name.
    is_any_named = any(names.values())
    splits: dict[str, list[Path]] = {}
    for path, name in names.items():
        splits.setdefault(name or (path.stem if is_any_named else TRAIN), []).append(path)
    return {name: tuple(paths) for name, paths in splits.items()}


def _means_split(folder: str) -> bool:
    return split_of(folder.removeprefix(PARTIAL)) is not None


def _name_split(path: Path, folder: Path) -> str | None:
    for part in reversed(path.parent.relative_to(folder).parts):
        if _means_split(part):
            return part.removeprefix(PARTIAL)
    for pattern in (SHARD, WORD):
        if found := pattern.fullmatch(path.stem):
            return found[1]
    return None
