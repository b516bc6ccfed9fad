"""Rows, tables and counts, read from a real study."""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from dashboards.analysis.status import read_status
from dashboards.formatting import shown_duration
from dashboards.terminal.status import status_line, status_table
from dashboards.terminal.trials import TrialsTable
from storage.errors import StudyNotFoundError
from storage.study_storage import StudyStorage
from storage.trial_rows import best_complete, by_value, read_trials
from tests.dashboards.statuses import build_row, example

Show = Callable[[RenderableType], list[str]]


@pytest.fixture
def show() -> Show:
    def on_80_columns(renderable: RenderableType) -> list[str]:
        console = Console(width=80, file=io.StringIO(), force_terminal=False)
        with console.capture() as capture:
            console.print(renderable)
        return capture.get().splitlines()

    return on_80_columns


def test_read_trials_of_every_state_names_each(searched_study: StudyStorage) -> None:
    rows = read_trials(searched_study, "pets")
    states = ["complete", "complete", "pruned", "failed", "running", "waiting"]
    assert [row.state for row in rows] == states
    assert [row.slot for row in rows] == [0, 1, 2, 3, 4, 5]
    assert [row.epochs_done for row in rows] == [4, 4, 2, 0, 1, 0]
    assert [row.best_epoch for row in rows] == [2, 4, 2, None, 1, None]
    assert [row.value for row in rows] == [0.4, 0.61, 0.15, None, 0.25, None]
    assert rows[3].reason == {"kind": "exception", "message": "<b>no memory</b>"}
    assert rows[0].seconds == 40.0


def test_read_trials_of_unknown_name_is_rejected_with_known_names(
    searched_study: StudyStorage,
) -> None:
    with pytest.raises(StudyNotFoundError, match=r"got 'cats' \(there: pets\)"):
        read_trials(searched_study, "cats")


def test_trials_table_shows_best_first_and_cuts_nothing_at_80_columns(
    searched_study: StudyStorage, show: Show
) -> None:
    lines = show(TrialsTable(read_trials(searched_study, "pets")))
    cells = [line.split() for line in lines]
    numbers = [row[0] for row in cells if row and row[0].isdigit()]
    assert numbers == ["1", "0", "4", "2", "3", "5"]
    assert max(map(len, lines)) <= 80
    assert [row[1] for row in cells if row and row[0] == "3"] == ["exception"]
    assert not any("…" in line for line in lines)


@given(st.lists(st.none() | st.floats(0, 1)))
def test_by_value_of_any_values_is_descending_with_unknown_last(
    values: list[float | None],
) -> None:
    rows = [build_row(number, value=value) for number, value in enumerate(values)]
    ordered = [row.value for row in by_value(rows)]
    known = [value for value in ordered if value is not None]
    assert known == sorted(known, reverse=True)
    assert ordered == known + [None] * (len(values) - len(known))


def test_best_complete_ignores_better_values_of_unfinished_trials() -> None:
    states = ((0.5, "complete"), (0.9, "pruned"), (0.5, "complete"))
    rows = [build_row(n, value=v, state=s) for n, (v, s) in enumerate(states)]
    assert best_complete(rows) == rows[0]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (99.4, "99 s"), (100, "2 min"), (5400, "90 min"), (11_100, "3.1 h")],
)
def test_shown_duration_of_seconds_has_fitting_unit(seconds: float, text: str) -> None:
    assert shown_duration(seconds) == text


def test_status_of_running_study_counts_and_survives_json(searched_study: StudyStorage) -> None:
    found = json.loads(json.dumps(read_status(searched_study, "pets").as_json()))
    counts = {"waiting": 1, "running": 1, "complete": 2, "pruned": 1, "failed": 1, "budget": 6}
    assert {name: found[name] for name in counts} == counts
    assert found["best"]["number"] == 1
    (running,) = found["running_trials"]
    assert (running["number"], running["epoch"], running["n_epochs"]) == (4, 1, 4)
    assert running["pid"] > 0 and running["beat_age_seconds"] >= 0
    assert found["seconds_spent"] == 110.0
    # One waits (a finished one took 100 s / 3), one has 3 epochs of 10 s to go, one worker.
    assert found["seconds_remaining"] == pytest.approx(100 / 3 + 30)


def test_status_counts_no_imported_trial_but_may_call_it_the_best(
    forked_study: StudyStorage, show: Show
) -> None:
    status = read_status(forked_study, "pets")
    counts = (status.waiting, status.running, status.complete, status.pruned, status.failed)
    assert counts == (1, 1, 2, 1, 1)
    assert (status.done, status.budget, status.taken_over) == (4, 6, 1)
    assert status.seconds_spent == 110.0
    assert status.best is not None and (status.best.number, status.best.slot) == (6, None)
    assert ", 1 imported, 1 running, best 0.700 (trial 6)" in status_line(status)
    lines = show(status_table(status))
    assert max(map(len, lines)) <= 80
    assert "1 failed  1 imported" in "\n".join(lines)


def test_trials_table_marks_imported_trials(forked_study: StudyStorage, show: Show) -> None:
    rows = read_trials(forked_study, "pets")
    assert [row.is_imported for row in rows] == [False] * 6 + [True]
    assert rows[6].epochs_done == 4
    lines = show(TrialsTable(rows))
    numbers = [line.split()[0] for line in lines if line.split() and line.split()[0][0].isdigit()]
    assert numbers == ["6*", "1", "0", "4", "2", "3", "5"]
    assert lines[-1].strip() == "* imported from another study"
    assert "*" not in "".join(show(TrialsTable(rows[:6])))


def test_status_line_of_running_and_of_new_study_is_one_sentence(
    searched_study: StudyStorage,
) -> None:
    status = read_status(searched_study, "pets")
    assert status_line(status) == (
        "4/6 done (2 complete, 1 pruned, 1 failed), 1 running, best 0.610 (trial 1)"
    )


def test_status_of_new_study_has_no_best_and_no_estimate(
    empty_study: StudyStorage, show: Show
) -> None:
    status = read_status(empty_study, "pets")
    assert (status.waiting, status.best, status.seconds_remaining) == (6, None, None)
    assert status_line(status) == "0/6 done, 0 running, no result yet"
    assert any("none complete yet" in line for line in show(status_table(status)))


def test_runs_of_a_confirmation_have_no_best(searched_study: StudyStorage, show: Show) -> None:
    status = read_status(searched_study, "pets")
    assert "best: validation" in "".join(show(status_table(status)))
    confirmation = replace(status, study_name="pets-confirm")
    assert status_line(confirmation).endswith(" running")
    assert "best: validation" not in "".join(show(status_table(confirmation)))


def test_status_table_of_running_study_fits_80_columns(
    searched_study: StudyStorage, show: Show
) -> None:
    lines = show(status_table(read_status(searched_study, "pets")))
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert "4 of 6 trials" in text and "0.6100, trial 1 at epoch 4" in text
    assert "\n1 waiting  1 running  2 complete" in text
    assert "1/4" in text and "process" in text


def test_status_table_shows_each_command_of_the_diagnosis_in_one_line(show: Show) -> None:
    command = "`study fork NEW --set search.space.optimization.learning_rate.high=0.46`"
    sentences = (f"{'Seven of sixty trials diverged, ' * 4}so fork it, {command}.", "And\x1b so.")
    lines = show(status_table(replace(example(), diagnosis=sentences)))
    assert max(map(len, lines)) <= 80
    assert f"    {command}." in [line.rstrip() for line in lines]
    assert "  - And? so." in [line.rstrip() for line in lines]
    assert not any("diagnosis" in line for line in show(status_table(example())))


def test_status_of_unknown_name_is_rejected(searched_study: StudyStorage) -> None:
    with pytest.raises(StudyNotFoundError, match="got 'cats'"):
        read_status(searched_study, "cats")


def test_status_modules_import_neither_torch_nor_matplotlib() -> None:
    check = (
        "import sys, dashboards.terminal.watch, dashboards.terminal.trials; "
        "import dashboards.servers.prometheus, dashboards.servers.prometheus_metrics; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'datasets', 'matplotlib')))"
    )
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", check], cwd=root, check=False).returncode == 0
