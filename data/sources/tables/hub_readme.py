"""What the head of a README says of tables, in YAML as the hub has it: files and columns.

Must not look for the files.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from data.splits import TRAIN

README = "README.md"
DEFAULT = "default"
"""What a configuration is called that has no name."""

Features = dict[str, dict[str, object]]


def read_front_matter(folder: Path) -> dict[str, Any]:
    """The YAML at the head of a folder's README, empty where there is none."""
    try:
        text = (folder / README).read_text("utf-8")
        head = re.match(r"---\s*\n(.*?)\n---\s*(\n|$)", text, re.DOTALL)
        stored = yaml.safe_load(head[1]) if head else None
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return stored if isinstance(stored, dict) else {}


def read_features(folder: Path, configuration: str) -> Features:
    """Columns of images and of named classes, as `datasets` writes them into a schema."""
    described = read_front_matter(folder).get("dataset_info") or []
    features: Features = {}
    try:
        for info in described if isinstance(described, list) else [described]:
            if info.get("config_name", DEFAULT) == configuration:
                for column in info.get("features", ()):
                    features |= _read_feature(column["name"], column.get("dtype"))
    except (AttributeError, KeyError, TypeError, ValueError):  # not as the hub has it
        return {}
    return features


def list_patterns(data_files: object) -> Iterable[tuple[str, list[str]]]:
    """Splits and patterns of their files, from all the forms that the hub accepts.

    Raises:
        KeyError: an item lacks its split or path.
        TypeError: it has none of these forms.
    """
    if isinstance(data_files, dict):
        by_split = list(data_files.items())
    elif isinstance(data_files, list) and all(isinstance(item, dict) for item in data_files):
        by_split = [(item["split"], item["path"]) for item in data_files]
    elif isinstance(data_files, str | list):
        by_split = [(TRAIN, data_files)]
    else:
        raise TypeError(f"data_files is {data_files!r}")
    return [
        (str(split), [patterns] if isinstance(patterns, str) else list(patterns))
        for split, patterns in by_split
    ]


def _read_feature(name: str, kind: Any) -> Features:
    if kind == "image":
        return {name: {"_type": "Image"}}
    if isinstance(kind, dict) and "class_label" in kind:
        by_index = {int(index): str(name) for index, name in kind["class_label"]["names"].items()}
        names = [by_index[index] for index in sorted(by_index)]
        return {name: {"_type": "ClassLabel", "names": names}}
    return {}
