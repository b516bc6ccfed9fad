"""The presets that the package brings along."""

from importlib import resources
from pathlib import Path
from typing import Any

from study.configuration.given_values import shown, suggest_near
from study.configuration.yaml_values import parse_yaml
from study.errors import ConfigurationError


def preset_names() -> list[str]:
    """Return the names of all presets."""
    folder = resources.files("study.presets")
    return sorted(
        Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".yaml")
    )


def read_preset(given: str) -> dict[str, Any]:
    """Return the values of a preset, and its name.

    Raises:
        ConfigurationError: If no preset has this name.
    """
    names = preset_names()
    name = given.casefold()
    if name not in names:
        listed = f"choose one of {', '.join(names)}"
        raise ConfigurationError(
            f"--preset must be the name of a preset, got {shown(given)}: "
            f"{suggest_near(given, names, otherwise=listed)}"
        )
    text = resources.files("study.presets").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    values: dict[str, Any] = parse_yaml(text, f"--preset {name}")
    return {"name": name} | values
