"""Folders of picture files: class folders or a file of labels, optionally below split folders.

Finding the pictures lists folders and reads the file of labels, nothing else. Must not decode
anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.configuration import DataConfig
from data.errors import DataError
from data.sources.encoded_images import EncodedImage, EncodedImages, EncodedSplit, LeftOut
from data.sources.folder_walk import Folder, readable, walk
from data.sources.folders.label_file import LabelFile, find_label_files
from data.sources.folders.labelled_pictures import OUTSIDE, Labelled, read_labelled
from data.sources.folders.split_folders import (
    are_splits,
    find_splits,
    find_splits_loosely,
    holding_pictures,
    unwrap,
)
from data.sources.picture_files import count_kinds, is_picture, kind_of, others_held
from data.sources.split_names import split_of
from data.sources.unused_files import MOST_EXAMPLES, count_reasons
from data.splits import SPLITS, TRAIN

WHOLE_SOURCE = "the source"
FLAT = "give each class a folder, or name a CSV of file names and classes with data.label_file"


@dataclass(frozen=True)
class PictureFolder:
    """The pictures of a folder: the files on which its content depends, and how to open them."""

    files: Sequence[str]
    encoded: EncodedImages
    says: str = ""

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """Files that are not used."""
        return self.encoded.left_out

    def open(self, *, scratch: Path) -> EncodedImages:
        """Open the pictures; `scratch` is not needed."""
        return replace(self.encoded, left_out=())


def find_pictures(folder: Path, config: DataConfig) -> PictureFolder:
    """Find the pictures of a folder, their splits and their classes.

    Args:
        folder: The source.
        config: Names the splits, and the file of labels and its columns, where they are not to
            be found by their names.

    Raises:
        DataError: There are no pictures, or it is not clear which are of which split and class.
    """
    root = walk(folder, is_used=is_picture, skipped=config.cache)
    if not root.n_used and config.label_file is not None:
        raise DataError(
            f"data.label_file is for folders of images, '{readable(folder)}' holds "
            f"none{others_held(root)}; remove the setting, or point --data to the images"
        )
    if not root.n_used:
        raise DataError(
            f"data.source: '{readable(folder)}' must hold parquet files or images in one folder "
            f"for each class, it has no images{others_held(root)}; point --data to the folder "
            "above the classes"
        )
    top = unwrap(root)
    folders = [root, top, *(folder for folder in top.folders if split_of(folder.name))]
    label_files = find_label_files(root, folders, config)
    _reject_unused_settings(config, has_labels=bool(label_files))
    if label_files:
        if config.label_file is None:
            _reject_class_folders(root, label_files[0], config)
        says_splits = label_files[0].split_column is not None
        layout = _Layout(root, {TRAIN: root} if says_splits else find_splits_loosely(root, config))
        labelled = read_labelled(label_files, root, layout.splits, config)
        _reject_unnamed_classes(layout, labelled, label_files[0])
        return _collect(layout, labelled, f"images that {label_files[0].name} does not name")
    layout = _Layout(root, find_splits(root, config))
    return _collect(layout, _label_by_folder(layout), "images outside class folders")


def _reject_unused_settings(config: DataConfig, *, has_labels: bool) -> None:
    for setting in ("configuration", *(() if has_labels else ("image_column", "label_column"))):
        if (value := getattr(config, setting)) is not None:
            raise DataError(
                f"data.{setting} is for tables{'' if has_labels else ' and files of labels'}, "
                f"'{config.source}' has none, got '{value}'; remove the setting"
            )


def _reject_class_folders(root: Folder, file: LabelFile, config: DataConfig) -> None:
    """Reject a source whose folders say other classes than a file that nobody has named."""
    splits = {TRAIN: root} if file.split_column else find_splits_loosely(root, config)
    train = unwrap(splits[TRAIN], of_split=True)
    folders = holding_pictures(train)
    if len(folders) > 1 and not train.used and not are_splits({folder.name for folder in folders}):
        names = ", ".join(readable(folder.name) for folder in folders[:MOST_EXAMPLES])
        raise DataError(
            f"data.source: the classes of '{readable(train.path)}' must be said once, its folders "
            f"({names}) say them and {file.name} too; set data.label_file={file.name}, or move "
            "it away"
        )


def _reject_unnamed_classes(layout: _Layout, labelled: Labelled, file: LabelFile) -> None:
    """Reject a split of class folders that no file names beside a train split of named images."""
    for split, folder in layout.splits.items():
        classes = {inner.name for inner in holding_pictures(unwrap(folder, of_split=True))}
        if not labelled.paths[split] and classes & set(labelled.class_names):
            raise DataError(
                f"data.source: the classes of every split must be said in one way, those of train "
                f"by {file.name} and those of '{layout.name(folder.path)}' by its folders; write "
                "a row for each image, or move the file away"
            )


@dataclass(frozen=True)
class _Layout:
    """A source and the folders of its splits: as named, so that wrappers lie inside."""

    root: Folder
    splits: Mapping[str, Folder]

    def name(self, path: str) -> str:
        """What the source calls a file or folder: its path below the source."""
        inside = os.path.relpath(path, self.root.path)
        return WHOLE_SOURCE if inside == "." else readable(inside)


def _label_by_folder(layout: _Layout) -> Labelled:
    folders = {TRAIN: unwrap(layout.splits[TRAIN], of_split=True)}
    class_names = tuple(folder.name for folder in folders[TRAIN].folders)
    _require_classes(folders[TRAIN], class_names)
    for split in layout.splits.keys() - {TRAIN}:
        folders[split] = unwrap(
            layout.splits[split], classes=frozenset(class_names), of_split=True
        )
    paths: dict[str, list[str]] = {}
    labels: dict[str, list[int]] = {}
    for split in (split for split in SPLITS if split in folders):
        paths[split], labels[split] = _read_classes(folders[split], class_names)
    return Labelled(class_names, paths, labels)


def _require_classes(train: Folder, class_names: tuple[str, ...]) -> None:
    if not holding_pictures(train):
        raise DataError(
            f"data.source: the images of '{readable(train.path)}' must lie in one folder for "
            f"each class, they lie side by side; {FLAT}"
        )
    for name in class_names:
        if name != readable(name):
            raise DataError(
                f"data.source: class folder '{readable(name)}' of '{readable(train.path)}' must "
                "have a name in UTF-8; rename it"
            )
    if are_splits(frozenset(class_names)):
        raise DataError(
            f"data.source: the folders of '{readable(train.path)}' must be classes, they are "
            f"called like splits ({', '.join(class_names)}); name the splits with data.splits, "
            "or point --data to the folder that holds them"
        )


def _read_classes(folder: Folder, class_names: tuple[str, ...]) -> tuple[list[str], list[int]]:
    paths: list[str] = []
    labels: list[int] = []
    label_of = {name: label for label, name in enumerate(class_names)}
    for class_folder in folder.folders:
        if class_folder.name not in label_of:
            raise DataError(
                f"data.source: every class must have a folder in train, "
                f"'{readable(class_folder.path)}' has none; add it or move this folder away"
            )
        _require_pictures(class_folder)
        pictures = class_folder.used_below()
        paths += pictures
        labels += [label_of[class_folder.name]] * len(pictures)
    return paths, labels


def _require_pictures(class_folder: Folder) -> None:
    """Reject a class without pictures, or with folders of which nobody says what they are."""
    path = readable(class_folder.path)
    if not class_folder.n_used:
        raise DataError(
            f"data.source: class folder '{path}' must hold images, it holds "
            f"{count_kinds(class_folder) or 'no files'}; add images, or move the folder away"
        )
    while not class_folder.used and len(inside := holding_pictures(class_folder)) == 1:
        class_folder = inside[0]  # class/images/*
    if inside := holding_pictures(class_folder):
        names = ", ".join(readable(inner.name) for inner in inside[:MOST_EXAMPLES])
        raise DataError(
            f"data.source: class folder '{path}' must hold its images itself, it holds folders of "
            f"images ({names}); if they are the classes, move them beside it, if they are parts "
            "of one class, move their images up, if they are masks or the like, move them away"
        )


def _collect(layout: _Layout, labelled: Labelled, unlabelled: str) -> PictureFolder:
    splits = {
        split: _split(
            labelled.paths[split],
            labelled.labels[split],
            name=labelled.names.get(split) or layout.name(layout.splits[split].path),
        )
        for split in SPLITS
        if labelled.paths.get(split)
    }
    used = [path for split in splits for path in labelled.paths[split]]
    reasons = labelled.unused | dict.fromkeys((*used, *labelled.files), "")
    left_out = _left_out(layout, reasons, unlabelled)
    encoded = EncodedImages(labelled.class_names, splits, left_out)
    return PictureFolder((*labelled.files, *used), encoded)


def _split(paths: list[str], labels: list[int], *, name: str) -> EncodedSplit:
    def read(rows_N: NDArray[np.int64]) -> list[EncodedImage]:
        return [EncodedImage(readable(paths[row]), Path(paths[row])) for row in rows_N]

    return EncodedSplit(np.array(labels, dtype=np.int64), read, name)


def _left_out(layout: _Layout, reasons: Mapping[str, str], unlabelled: str) -> tuple[LeftOut, ...]:
    """What is not used, by split and reason: pictures, and files of every other ending.

    Args:
        layout: The source.
        reasons: Why files are not used, where it is known; empty for those that are used.
        unlabelled: Why other pictures in the folders of splits are not used.
    """
    names: dict[int, str | None] = {
        id(folder): None if top is layout.root else layout.name(top.path)
        for top in layout.splits.values()
        for folder in top.below()
    }

    def unused() -> Iterator[tuple[str | None, str, str]]:
        for folder in layout.root.below():
            split = names.get(id(folder))
            usual = unlabelled if id(folder) in names else OUTSIDE
            pictures = ((name, usual) for name in folder.used)
            others = ((name, kind_of(name)) for name in folder.others)
            for name, why in (*pictures, *others):
                path = f"{folder.path}/{name}"
                if reason := reasons.get(path, why):
                    yield split, reason, path

    return count_reasons(unused(), name=layout.name)
