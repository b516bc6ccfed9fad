import re
from pathlib import Path

import pytest

from study.cli import app
from study.configuration.config import all_keys, describe_keys, preset_names

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("name", sorted(app.commands))
def test_readme_explains_every_command(name: str) -> None:
    assert re.search(rf"^\| `study {name}\b[^|]*\| .{{15,}} \|$", README, re.MULTILINE)


@pytest.mark.parametrize(("key", "default", "description"), describe_keys())
def test_readme_explains_every_setting_as_the_code_does(
    key: str, default: object, description: str
) -> None:
    row = re.search(rf"^\| `{re.escape(key)}` \| ([^|]+) \| (.+) \|$", README, re.MULTILINE)
    assert row is not None
    assert row[2] == description.rstrip(".")
    if isinstance(default, bool | int | float | str) and default != "":
        assert row[1] == (str(default).lower() if isinstance(default, bool) else str(default))


def test_readme_names_no_command_or_setting_that_does_not_exist() -> None:
    assert set(re.findall(r"^\| `study ([a-z-]+)", README, re.MULTILINE)) == set(app.commands)
    table = README.split("## Settings", 1)[1].split("\n## ", 1)[0]
    assert set(re.findall(r"^\| `([a-z0-9_.]+)` \|", table, re.MULTILINE)) == set(all_keys())


@pytest.mark.parametrize("name", preset_names())
def test_readme_names_every_preset(name: str) -> None:
    assert f"`{name}`" in README


def test_readme_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)]+)\)", README)
    assert all((ROOT / target).exists() for target in targets)


def test_readme_and_help_name_every_make_target() -> None:
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert len(targets) > 10
    assert all(f"make {target}" in README for target in targets)


def test_options_are_the_same_for_every_command() -> None:
    shared = {"preset", "config", "sets", "data", "storage", "runs", "name"}
    shared |= {"workers", "trials", "device"}
    for command in app.commands.values():
        assert shared <= {parameter.name for parameter in command.params}
