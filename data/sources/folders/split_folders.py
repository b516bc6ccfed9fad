"""Which folders of a source are its splits, whatever they are called and wrapped in.

Must not know how pictures get their classes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from data.configuration import DataConfig
from data.errors import DataError
from data.sources.folder_walk import Folder, readable
from data.sources.picture_files import ending_of, others_held
from data.sources.split_names import SplitName, is_plain, match_splits, name_splits, split_of
from data.splits import TRAIN

MOST_NAMES = 5
TABLE_ENDINGS = (".csv", ".tsv")


def find_splits(root: Folder, config: DataConfig) -> Mapping[str, Folder]:
    """The folders of the splits; the whole source is train where it has none."""
    top = unwrap(root)
    if config.splits is not None:
        return _chosen_splits(root, top, config.splits)
    named = {folder.name: folder for folder in top.folders if folder.n_used}
    splits = name_splits(named)
    n_found = sum(split is not None for split in splits.values())
    trains = [named[name] for name, split in splits.items() if split == TRAIN]
    # A class may be called train: then pictures lie right inside, not in folders.
    has_classes = any(holding_pictures(unwrap(folder, of_split=True)) for folder in trains)
    if not n_found or (n_found < len(named) and not has_classes):
        _reject_unknown_splits(top)
        _reject_splits_beside_classes(top, splits)
        return {TRAIN: top}
    unknown = [name for name, split in splits.items() if split is None]
    if unknown:
        raise DataError(
            f"data.source: every folder beside '{readable(trains[0].path)}' must be a split, "
            f"'{readable(unknown[0])}' ({named[unknown[0]].n_used} images) is none; name the "
            "splits to use with data.splits, or move it away"
        )
    matched = match_splits(named, source=readable(top.path))
    _reject_splits_without_images(top, matched)
    return {split: named[name] for split, name in matched.items()}


def _reject_splits_without_images(top: Folder, matched: Mapping[str, str]) -> None:
    for folder in top.folders:
        split = split_of(folder.name)
        if split is not None and split not in matched and (held := others_held(folder)):
            raise DataError(
                f"data.source: '{readable(folder.path)}' must hold images, it is called like the "
                f"{split} split and holds none{held}; convert them, or move it away"
            )


def _chosen_splits(
    root: Folder, top: Folder, chosen: Mapping[SplitName, str]
) -> Mapping[str, Folder]:
    by_path = {os.path.relpath(folder.path, top.path): folder for folder in top.below()}
    by_path |= {os.path.relpath(folder.path, root.path): folder for folder in root.below()}
    splits: dict[str, Folder] = {}
    for split, name in chosen.items():
        folder = by_path.get(os.path.normpath(name))
        if folder is None:
            there = ", ".join(readable(folder.name) for folder in top.folders) or "none"
            raise DataError(
                f"data.splits.{split} must be a folder in data.source, got '{name}'; "
                f"there are {there}"
            )
        if not folder.n_used:
            raise DataError(
                f"data.splits.{split} must hold images, '{name}' has "
                f"none{others_held(folder)}; choose another folder"
            )
        splits[split] = folder
    _require_apart(splits)
    return splits


def _require_apart(splits: Mapping[str, Folder]) -> None:
    for split, folder in splits.items():
        for other, outer in splits.items():
            if other != split and f"{folder.path}/".startswith(f"{outer.path}/"):
                raise DataError(
                    f"data.splits must name folders of which none lies in another, {split} "
                    f"('{readable(folder.path)}') lies in {other} ('{readable(outer.path)}'); "
                    "name others"
                )


def find_splits_loosely(root: Folder, config: DataConfig) -> Mapping[str, Folder]:
    """The same where a file names the pictures that are used: other folders may lie beside."""
    top = unwrap(root)
    if config.splits is not None:
        return _chosen_splits(root, top, config.splits)
    named = {folder.name: folder for folder in top.folders if folder.n_used}
    found = {name: split for name, split in name_splits(named).items() if split is not None}
    if TRAIN not in found.values():
        return {TRAIN: root}
    matched = match_splits(found, source=readable(top.path))
    return {split: named[name] for split, name in matched.items()}


def unwrap(
    folder: Folder, *, classes: AbstractSet[str] = frozenset(), of_split: bool = False
) -> Folder:
    """Descend while a folder holds nothing but one folder, unless that one is a class or split.

    Args:
        folder: Where to begin.
        classes: Names of classes, where they are known.
        of_split: Whether it is already the folder of a split.
    """
    while not folder.used and len(inside := holding_pictures(folder)) == 1:
        inner = inside[0]
        below = {child.name for child in holding_pictures(inner)}
        means_split = split_of(inner.name) is not None
        if inner.name in classes:
            break
        if means_split and not of_split and not are_splits(below):
            break
        is_wrapper = inner.name == folder.name or is_plain(inner.name) or means_split
        if not is_wrapper and (inner.used or (classes and not classes & below)):
            break
        folder = inner
    return folder


def holding_pictures(folder: Folder) -> list[Folder]:
    """Return the folders in a folder that hold pictures, at whatever depth."""
    return [inner for inner in folder.folders if inner.n_used]


def are_splits(names: AbstractSet[str]) -> bool:
    """Return whether every one of some names means a split."""
    return bool(names) and None not in name_splits(names).values()


def _reject_splits_beside_classes(top: Folder, splits: Mapping[str, str | None]) -> None:
    has_table = any(ending_of(name) in TABLE_ENDINGS for name in top.others)
    for name, split in splits.items():
        # A class may be called train, among buses and cars.
        if split not in (None, TRAIN) or (split and (has_table or len(splits) == 2)):
            raise DataError(
                f"data.source: '{readable(name)}' in '{readable(top.path)}' must be a class or a "
                f"split, it lies among classes and is called like the {split} split; move it "
                "away, put the classes in a folder 'train', name a CSV of files and classes with "
                "data.label_file, or take it for a class with data.splits={train: .}"
            )


def _reject_unknown_splits(top: Folder) -> None:
    """Reject folders that hold nothing but the same class folders: splits of unknown names."""
    folders = holding_pictures(top)
    inside = [{inner.name for inner in holding_pictures(folder)} for folder in folders]
    if len(folders) < 2:
        return
    if len(set.intersection(*inside)) > 1:
        names = ", ".join(readable(folder.name) for folder in folders[:MOST_NAMES])
        raise DataError(
            f"data.source: folders that hold the same folders must be splits, those of "
            f"'{readable(top.path)}' ({names}) are called like none; say which is which with "
            "data.splits, or point --data one level deeper"
        )
