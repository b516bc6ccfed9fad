"""The command line of what follows a study."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from importlib import resources

import pytest

from dashboards.terminal.status import status_table
from study.commands.output import print_rich
from tests.dashboards.statuses import example
from tests.study.conftest import Call


@pytest.fixture
def started(call: Call, config_file: str) -> Callable[..., str]:
    assert call("init", "--config", config_file).code == 0

    def run(*arguments: str) -> str:
        ended = call(*arguments, "--config", config_file)
        assert (ended.code, ended.err) == (0, "")
        return ended.out

    return run


def test_schema_is_printed_without_any_study(call: Call) -> None:
    ended = call("status", "--schema")
    file = resources.files("dashboards.analysis").joinpath("status_schema.json")
    assert (ended.code, ended.out) == (0, file.read_text())


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--watch"], "--watch must have a terminal"),
        (["--watch", "--json"], "--watch must have a terminal without --json"),
        (["--every", "0"], "--every"),
    ],
)
def test_watch_without_a_terminal_is_misuse(call: Call, arguments: list[str], hint: str) -> None:
    ended = call("status", *arguments)
    assert ended.code == 2 and ended.out == ""
    assert len(ended.err.splitlines()) == 1 and hint in ended.err


class TerminalText(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_watch_on_a_terminal_that_cannot_draw_anew_is_rejected(
    call: Call, monkeypatch: pytest.MonkeyPatch, term: str
) -> None:
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr("sys.stdout", TerminalText())
    ended = call("status", "--watch")
    assert ended.code == 2 and len(ended.err.splitlines()) == 1
    assert f"TERM is '{term}': set TERM" in ended.err


def test_piped_table_is_as_wide_as_it_needs_or_as_columns_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    host = "gpu-node-with-a-long-name-0.cluster"
    (trial,) = example().running_trials
    status = replace(example(), running_trials=(replace(trial, host=host, attempt=2),))
    monkeypatch.delenv("COLUMNS", raising=False)
    print_rich(status_table(status))
    assert f"{host} (attempt 2)" in capsys.readouterr().out
    monkeypatch.setenv("COLUMNS", "80")
    print_rich(status_table(status))
    assert max(map(len, capsys.readouterr().out.splitlines())) == 80


def test_piped_status_and_metrics_have_no_control_characters(
    started: Callable[..., str],
) -> None:
    for arguments in (["status"], ["status", "--json"], ["metrics", "--once"]):
        text = started(*arguments)
        assert text and all(each == "\n" or each.isprintable() for each in text)
    assert json.loads(started("status", "--json"))["waiting"] == 3
    metrics = started("metrics", "--once")
    assert 'study_trials{state="waiting",study="tiny"} 3.0' in metrics.splitlines()


def test_metrics_of_a_database_that_is_away_say_so_and_tell_no_password(
    call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    url = "postgresql+psycopg://me:hunter2@127.0.0.1:1/x"
    ended = call("metrics", "--once", "--storage", url)
    assert ended.code == 0
    assert ended.out.splitlines()[2:] == ["study_database_up 0.0", *ended.out.splitlines()[3:]]
    assert "Connection refused" in caplog.text
    assert "hunter2" not in ended.out + ended.err + caplog.text


def test_metrics_of_a_study_that_is_not_there_are_misuse(
    call: Call, config_file: str, started: Callable[..., str]
) -> None:
    ended = call("metrics", "--once", "--config", config_file, "--name", "cats")
    assert ended.code == 2 and "got 'cats'" in ended.err and ended.out == ""
    ended = call("metrics", "--once", "--storage", "sqlite:///none.db")
    assert ended.code == 2 and "study init" in ended.err
