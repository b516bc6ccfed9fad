"""What sources call their splits: `Train`, `seg_train` and `training_set` all mean train.

Must not know whether the names are those of folders, of tables or of values in a column.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Literal

from data.errors import DataError
from data.splits import TEST, TRAIN, VALIDATION

SplitName = Literal["train", "validation", "test"]
SPLIT_BY_WORD = {
    "train": TRAIN,
    "training": TRAIN,
    "trainset": TRAIN,
    "validation": VALIDATION,
    "valid": VALIDATION,
    "val": VALIDATION,
    "valset": VALIDATION,
    "dev": VALIDATION,
    "test": TEST,
    "testing": TEST,
    "testset": TEST,
    "eval": TEST,
    "evaluation": TEST,
}
_PLAIN_WORDS = (
    "data dataset datasets final folder image images img imgs photo photos picture pictures seg "
    "set split splits"
)
PLAIN_WORDS = frozenset(_PLAIN_WORDS.split())
"""They say nothing about which split, or which class, a folder holds."""
SEGMENT = re.compile(r"[^\W\d_]+")
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^A-Z]+")


def is_plain(name: str) -> bool:
    """Return whether a name, such as `Images`, says nothing about what is in it."""
    return _words(name) <= PLAIN_WORDS


def split_of(name: str) -> str | None:
    """Return the split that a name means by itself, in whatever case: `TestImages2` is test."""
    return _meaning(_words(name) - PLAIN_WORDS)


def name_splits(names: Iterable[str]) -> dict[str, str | None]:
    """Say which split each of some names means, none where it means none.

    Words that all of them share are ignored: `pets_train` and `pets_test` are splits, `pets_train`
    beside `bullet_train` is none.
    """
    words = {name: _words(name) - PLAIN_WORDS for name in names}
    shared = frozenset.intersection(*words.values()) if len(words) > 1 else frozenset()
    return {
        name: _meaning(found - (shared - SPLIT_BY_WORD.keys())) for name, found in words.items()
    }


def match_splits(
    names: Iterable[str], *, source: str, chosen: Mapping[SplitName, str] | None = None
) -> dict[str, str]:
    """Map train, validation and test to the names under which a source has them.

    Args:
        names: all that the source has.
        source: what messages call the source.
        chosen: `data.splits`; only these are used.

    Raises:
        DataError: There is no train split, two names mean the same split, or a chosen one is
            missing.
    """
    names = list(names)
    if chosen is not None:
        _require_names(chosen, names, source=source)
        return {str(split): name for split, name in chosen.items()}
    found: dict[str, str] = {}
    for name, split in name_splits(names).items():
        if split in found:
            raise DataError(
                f"data.source: '{source}' must have one {split} split, it has '{found[split]}' "
                f"and '{name}'; name the splits to use with data.splits"
            )
        if split is not None:
            found[split] = name
    if TRAIN not in found:
        raise DataError(
            f"data.source: '{source}' must have a train split, it has "
            f"{', '.join(names) or 'none'}; name the splits to use with data.splits"
        )
    return found


def _require_names(chosen: Mapping[SplitName, str], names: list[str], *, source: str) -> None:
    for split, name in chosen.items():
        if name not in names:
            raise DataError(
                f"data.splits.{split} must be a split of '{source}', got '{name}'; it has "
                f"{', '.join(names) or 'none'}"
            )


def _words(name: str) -> frozenset[str]:
    return frozenset(
        word.lower() for segment in SEGMENT.findall(name) for word in WORD.findall(segment)
    )


def _meaning(words: frozenset[str]) -> str | None:
    meanings = {SPLIT_BY_WORD.get(word) for word in words}
    return meanings.pop() if len(meanings) == 1 else None
