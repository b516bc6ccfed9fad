"""The command line of what follows a study."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest

from dashboards.terminal.status import status_table
from model.evaluation import Metrics
from model.training_state import EpochResult
from study.commands.output import print_rich
from study.configuration.config import Request
from study.creation.create import initialise
from study.creation.queue import Point
from study.progress import EpochProgress, explain_wait
from study.session.session import open_session
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


def test_final_runs_are_read_under_the_name_of_their_queue(
    call: Call, config_file: str, started: Callable[..., str], tmp_path: Path
) -> None:
    session = open_session(Request(None, Path(config_file), (), {}))
    point = Point({}, {"searched_trial": 0, "test_reason": "the first"})
    initialise(session.config, location=session.location, name="tiny-final", points=[point])
    place = ["--storage", session.config.storage.url]
    found = json.loads(call("status", "--json", "--name", "tiny-final", *place).out)
    assert (found["study_name"], found["waiting"], found["final_runs"]) == ("tiny-final", 1, [])
    (run,) = json.loads(call("status", "--json", "--name", "tiny", *place).out)["final_runs"]
    assert (run["state"], run["searched_trial"], run["epoch"]) == ("waiting", 0, 0)
    table = tmp_path / "final.csv"
    exported = call("export-trials", "--name", "tiny-final", "--to", str(table), *place)
    assert exported.code == 0 and '"the first"' in table.read_text()
    rejected = call("final", "--name", "tiny-final", *place)
    assert rejected.code == 2 and "must not end in -confirm or -final" in rejected.err


def test_shown_progress_expects_the_first_epoch_and_counts_final_runs_from_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal = TerminalText()
    monkeypatch.setattr("sys.stdout", terminal)
    metrics = Metrics(loss=1.0, accuracy=0.5, top5_accuracy=1.0, macro_f1=0.25)
    result = EpochResult(1, metrics, metrics, 0.1, 1.0, 2.0, 900.0)
    with EpochProgress(kind="final run", n_epochs=3, first=1) as announce:
        assert "final run: first epoch ..." in terminal.getvalue()
        announce(0, result)
    *_, last, _cursor = terminal.getvalue().splitlines()
    assert "final run 1: macro-F1 0.2500" in last and "first epoch" not in last


def test_waiting_is_explained_where_somebody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream, said in ((TerminalText(), "loading PyTorch ...\n"), (io.StringIO(), "")):
        monkeypatch.setattr("sys.stderr", stream)
        explain_wait("loading PyTorch")
        assert stream.getvalue() == said
