"""Command lines that a message suggests for going on, ready for a shell; no password in them."""

import math
import shlex
from collections.abc import Mapping
from typing import Any

import yaml

from storage.configuration import StorageConfig, shown_url

END_OF_DOCUMENT = "...\n"


def place_options(place: StorageConfig) -> list[str]:
    """Return the options that find a study: none where it lies at the usual place."""
    usual = StorageConfig()
    options = ["--storage", shown_url(place.url)] if place.url != usual.url else []
    return options + (["--runs", str(place.runs)] if place.runs != usual.runs else [])


def suggested(*words: str, place: StorageConfig) -> str:
    """Return `study` with these words and the place of the study."""
    return shlex.join(["study", *words, *place_options(place)])


def fork_command(study_name: str, settings: Mapping[str, Any], *, place: StorageConfig) -> str:
    """Return the command that starts a changed study from an existing one.

    Args:
        study_name: The existing study.
        settings: What changes, by dotted key.
        place: Where the study is.
    """
    changes = [word for item in settings.items() for word in ("--set", assignment(*item))]
    return suggested("fork", "NEW", "--name", study_name, *changes, place=place)


def assignment(key: str, value: Any) -> str:
    """Return `key=value` as `--set` reads it, in one line."""
    escaped = '"' if isinstance(value, str) and not value.isprintable() else None
    text = yaml.safe_dump(
        value,
        default_style=escaped,
        default_flow_style=True,
        width=math.inf,
        allow_unicode=True,
        sort_keys=False,
    )
    # YAML ends a bare scalar with a line of dots.
    return f"{key}={text.removesuffix(END_OF_DOCUMENT).rstrip()}"
