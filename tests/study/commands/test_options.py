"""`~` is the home folder wherever a path is given; which options are paths, the parser says."""

import os
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from study.cli import app
from study.commands.options import GivenFile, GivenPath
from study.configuration.config import PATHS, Request, StudyConfig
from study.configuration.dotted_keys import leaves, value_at
from study.errors import ConfigurationError
from study.notebook import Study
from tests.study.conftest import Call

NO_PATHS = {
    *("preset", "sets", "name", "workers", "device", "stop_after", "host", "token", "time"),
    *("partition", "node", "more", "new", "run", "trial", "assignments", "axes", "factors"),
    *("reopen", "of", "names"),
}
"""Texts that name no path. A new option of a text must be one of these, or a `GivenPath`."""
NO_PATH_SETTINGS = {
    *("name", "description", "execution.device", "data.configuration", "data.splits"),
    *("data.image_column", "data.label_column", "search.points", "search.space"),
}


def path_parameters() -> Iterator[tuple[str, click.Parameter]]:
    for name in app.commands:
        for parameter in app.commands[name].params:
            if isinstance(parameter.type, GivenFile | GivenPath):
                yield name, parameter


def test_every_option_of_a_text_is_known_to_be_a_path_or_none() -> None:
    texts = {
        (command, parameter.name)
        for command in app.commands
        for parameter in app.commands[command].params
        if type(parameter.type) in (click.types.StringParamType, click.Path, click.File)
    }
    assert {one for one in texts if one[1] not in NO_PATHS} == set()


def test_every_path_option_takes_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    found = {parameter.name for _, parameter in path_parameters()}
    assert found == {
        *("storage", "runs", "data", "config", "folder", "out", "images", "checkpoint"),
        *("figures", "tables", "target"),
    }
    for command, parameter in path_parameters():
        context = click.Context(app.commands[command])
        converted = parameter.type("~/x", parameter, context)
        assert str(converted) == "/home/somebody/x", (command, parameter.name)
        assert str(parameter.type("x/~", parameter, context)) == "x/~"


@pytest.mark.parametrize("before", ["", "sqlite:///", "mlflow:", "mlflow:sqlite:///"])
def test_address_and_target_that_hold_a_path_take_the_home_folder(
    before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert GivenPath().convert(f"{before}~/x.db") == f"{before}/home/somebody/x.db"
    assert GivenPath().convert(f"{before}~") == f"{before}/home/somebody"


def test_every_setting_of_a_path_takes_the_home_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    kinds = {key: str(setting.annotation) for key, setting in leaves(StudyConfig)}
    texts = {key for key, kind in kinds.items() if "str" in kind or "Path" in kind}
    choices = {key for key in texts if "Literal" in kinds[key] and key != "data.splits"}
    assert texts - choices == {*PATHS, *NO_PATH_SETTINGS}
    file = tmp_path / "mine.yaml"
    for key in PATHS:
        given = "sqlite:///~/x" if key == "storage.url" else "~/x"
        section, _, name = key.partition(".")
        file.write_text(f"{section}:\n  {name}: {given}\n")
        for request in (
            Request(assignments=(f"{key}={given}",)),
            Request(options={key: given}),
            Request(file=file),
        ):
            at_home = given.replace("~", "/home/somebody")
            assert str(value_at(request.resolve(), key)) == at_home
        base = {section: {name: given}}
        assert str(value_at(Request().resolve(base), key)) == at_home


def test_home_folder_of_nobody_is_rejected_unless_a_file_is_called_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=r"'~no-such-user' is none: write \./~no-such"):
        GivenPath().convert("~no-such-user/photos")
    (tmp_path / "~$draft.jpg").touch()
    assert GivenPath().convert("~$draft.jpg") == "~$draft.jpg"


def test_no_command_makes_a_folder_called_tilde(
    call: Call, config_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("STUDY_RUNS", "~/runs")
    monkeypatch.setenv("STUDY_STORAGE", "sqlite:///~/study.db")
    ended = call("init", "--config", config_file, "--set", "data.cache=~/cache")
    assert ended.code == 0, ended.err
    assert {"cache", "runs", "study.db"} <= set(os.listdir(home))
    call("export-trials", "--to", "~/trials.csv")
    call("report", "--out", "~/page.html")
    assert (home / "trials.csv").exists() and (home / "page.html").exists()
    with Study.open(runs="~/runs") as opened:
        assert opened.name == "tiny"
    assert not list(tmp_path.rglob("~*"))
