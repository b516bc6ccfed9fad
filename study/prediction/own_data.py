"""Whether pictures are those of the study behind a model: its test split stays sealed.

A folder is known again by its path. One that was moved or copied is not, nor is a test split that
was held out from the training folder.
"""

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from data.sources.folder_walk import readable
from data.splits import SPLITS, TEST
from study.errors import StudyError
from study.export.data_origin import digest_path


def reject_test_images(paths: Iterable[str], origin: Mapping[str, Any]) -> str:
    """Reject pictures in the folder of the study's test split.

    Args:
        paths: Of the pictures.
        origin: Where the model comes from, as in its configuration.

    Returns:
        A line on other pictures of the study's own data; empty where there are none.

    Raises:
        StudyError: If a picture lies in the test folder.
    """
    if origin.get("data_folder_digest") is None:
        return ""
    roots: dict[str, str | None] = {}
    n_images: Counter[str] = Counter()
    folders = Counter(map(_folder_of, paths))
    for folder, count in folders.items():
        real = os.path.realpath(folder)
        root = _find_root(real, origin["data_folder_digest"], roots)
        if root is None:
            continue
        split = _split_of(real, root, origin.get("data_splits", {}))
        if split == TEST:
            raise StudyError(
                f"IMAGES must not be of the test split of study {origin.get('study')!r}, those in "
                f"'{readable(folder)}' are: the predictions of its one test are in "
                "predictions.csv of the final run"
            )
        n_images[f"{split} split" if split else "folder"] += count
    if not n_images:
        return ""
    shown = ", ".join(f"{count:,} in its {name}" for name, count in sorted(n_images.items()))
    return (
        f"caution: these images are of study {origin.get('study')!r} itself ({shown}), on which "
        "the model was trained or chosen: the score of other images will be lower"
    )


def _folder_of(path: str) -> str:
    """Return the folder of a picture, or of that which it links to."""
    file = os.path.realpath(path) if os.path.islink(path) else path
    return os.path.dirname(file) or os.curdir


def _find_root(folder: str, digest: str, roots: dict[str, str | None]) -> str | None:
    """Return the folder or the one above it that has this digest; `roots` remembers answers."""
    if folder not in roots:
        above = os.path.dirname(folder)
        if digest_path(folder) == digest:
            roots[folder] = folder
        else:
            roots[folder] = None if above == folder else _find_root(above, digest, roots)
    return roots[folder]


def _split_of(folder: str, root: str, splits: Mapping[str, str]) -> str | None:
    """Return the split whose own folder it lies in; None where splits were held out."""
    for split in SPLITS:
        own = os.path.realpath(os.path.join(root, splits.get(split, "")))
        if own != root and f"{folder}/".startswith(f"{own}/"):
            return split
    return None
