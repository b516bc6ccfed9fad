"""Command lines that a message suggests, ready for a shell; no password in them."""

from collections.abc import Mapping
from typing import Any

from storage.configuration import StorageConfig, shown_url
from study.configuration.yaml_values import dump_assigned
from study.program import command_line


def location_options(storage: StorageConfig) -> list[str]:
    """Return the options that find a study: none where it lies at the usual storage."""
    usual = StorageConfig()
    options = ["--storage", shown_url(storage.url)] if storage.url != usual.url else []
    return options + (["--runs", str(storage.runs)] if storage.runs != usual.runs else [])


def suggest_command(*words: str, storage: StorageConfig) -> str:
    """Return the call of this program with these words and the location of the study."""
    return command_line([*words, *location_options(storage)])


def fork_command(study_name: str, settings: Mapping[str, Any], *, storage: StorageConfig) -> str:
    """Return the command that starts a changed study from an existing one.

    Args:
        study_name: The existing study.
        settings: What changes, by dotted key.
        storage: Where the study is.
    """
    changes = [word for item in settings.items() for word in ("--set", assignment(*item))]
    return suggest_command("fork", "NEW", "--name", study_name, *changes, storage=storage)


def assignment(key: str, value: Any) -> str:
    """Return `key=value` as `--set` reads it, in one line."""
    return f"{key}={dump_assigned(value)}"
