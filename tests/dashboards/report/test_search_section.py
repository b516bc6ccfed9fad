"""What the report says of a search: space, importances, confidence, cost, provenance, figures."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from dashboards.analysis.confidence import find_rivals
from dashboards.analysis.cost import compute_cost
from dashboards.analysis.importances import read_importances
from dashboards.analysis.reproducibility import read_provenance
from dashboards.analysis.search_space import (
    Hyperparameter,
    choose_varied,
    merge_spaces,
    read_space,
)
from dashboards.figures.base import svg
from dashboards.figures.search import importance_figure, pair_figure, parallel_figure, slice_figure
from dashboards.figures.timeline import build_timeline, timeline_figure
from dashboards.report.report import write_report
from storage.attempts import Attempt, read_attempts
from storage.budget import Budget
from storage.leases import acquire, end
from storage.optuna_rows import AUDITED
from storage.process_identity import Owner
from storage.records import read_protocol
from storage.run_paths import RunPaths
from storage.study_storage import StudyStorage, create_study_storage
from storage.trial_rows import read_trials
from tests.tools.searches import add_trial, create_search

COMPLETE, PRUNED, FAIL = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL
N_EPOCHS = 4


@pytest.fixture
def handle(tmp_path: Path) -> Iterator[StudyStorage]:
    opened = create_study_storage(f"sqlite:///{tmp_path / 'study.db'}", outage_seconds=5)
    create_search(opened, "pets", n_trials=12, n_epochs=N_EPOCHS)
    yield opened
    opened.engine.dispose()


def add(handle: StudyStorage, n_trials: int, state: TrialState, **more: object) -> None:
    for slot in range(n_trials):
        add_trial(handle, "pets", slot=slot, state=state, **{"n_epochs": N_EPOCHS, **more})


def test_space_is_told_by_ranges_scales_and_choices() -> None:
    space = merge_spaces(
        [
            {"rate": FloatDistribution(1e-3, 1.0, log=True), "n": IntDistribution(1, 4)},
            {"rate": FloatDistribution(1e-4, 0.1, log=True), "a.b_c": FloatDistribution(0, 0.5)},
            {
                "choice": CategoricalDistribution((0.5, 0.1, 1)),
                "text": CategoricalDistribution("ba"),
            },
        ]
    )
    assert [(one.label, one.range_text, one.scale) for one in space] == [
        ("rate", "0.0001 to 1", "logarithmic"),
        ("n", "1 to 4", "whole numbers"),
        ("b c", "0 to 0.5", "linear"),
        ("choice", "0.1, 0.5, 1", "choices"),
        ("text", "b, a", "choices"),
    ]
    assert space[3].position(0.5) == 1 and space[4].position("b") == 0


def test_hyperparameter_of_one_value_is_not_varied(handle: StudyStorage) -> None:
    add(handle, 3, COMPLETE)
    fixed = Hyperparameter("fixed", 0, 1)
    space = read_space(handle, "pets")
    assert len(space) == 6
    assert choose_varied([*space, fixed], read_trials(handle, "pets")) == space


def test_importances_need_ten_complete_trials(handle: StudyStorage) -> None:
    add(handle, 9, COMPLETE)
    found = read_importances(handle, "pets", read_space(handle, "pets"), is_given=False)
    assert found.shares == {} and "there are 9; pruned" in found.why_none


def test_importances_of_equal_values_are_none(handle: StudyStorage) -> None:
    add(handle, 10, COMPLETE, best=0.5)
    found = read_importances(handle, "pets", read_space(handle, "pets"), is_given=False)
    assert found.why_none == "all complete trials have the same value"


def test_importances_are_none_where_the_best_part_is_everything(handle: StudyStorage) -> None:
    add(handle, 10, COMPLETE, best=0.5)
    for slot in (10, 11, 12):
        add_trial(handle, "pets", slot=slot, state=COMPLETE, n_epochs=N_EPOCHS, best=0.9)
    found = read_importances(handle, "pets", read_space(handle, "pets"), is_given=False)
    assert found.n_trials == 13 and found.why_none.startswith("too many complete trials")


def test_equal_trials_are_rivals_and_far_ones_are_not(handle: StudyStorage) -> None:
    for slot, best in enumerate((0.8, 0.8, 0.1)):
        add_trial(handle, "pets", slot=slot, state=COMPLETE, n_epochs=N_EPOCHS, best=best)
    rows = read_trials(handle, "pets")
    found = find_rivals(rows[0], rows, 1000)
    assert found is not None and (found.n_rivals, found.n_others) == (1, 2)
    assert find_rivals(rows[0], rows[:1], 1000) is None and find_rivals(None, rows, 1000) is None


def test_cost_counts_epochs_that_the_pruner_saved_and_no_mishap(handle: StudyStorage) -> None:
    add(handle, 2, COMPLETE)
    kinds = ("pruned", "diverged", "out of memory", None)
    for slot, kind in enumerate(kinds, start=2):
        noted: dict[str, object] = {"reason": {"kind": kind, "message": ""}} if kind else {}
        add_trial(handle, "pets", slot=slot, state=PRUNED, n_epochs=1, attributes=noted)
    add_trial(handle, "pets", slot=6, state=FAIL, n_epochs=3)
    rows = read_trials(handle, "pets")
    cost = compute_cost(rows, attempts=[], budget=Budget("trials", 12), n_epochs=N_EPOCHS)
    assert [(one.state, one.n_trials, one.n_epochs, one.saved_epochs) for one in cost.states] == [
        ("complete", 2, 8, 0),
        ("pruned", 4, 4, 3),
        ("failed", 1, 3, 0),
    ]
    assert (cost.n_epochs, cost.full_epochs) == (15, 48)
    assert (cost.pruning_saved_epochs, cost.pruning_saved_seconds) == (3, 30)
    assert cost.images_per_second == {"cpu": 900} and cost.wall_seconds is None


def test_attempts_are_read_with_their_workers_and_drawn(handle: StudyStorage) -> None:
    trial_id = add_trial(handle, "pets", slot=0, state=TrialState.RUNNING, n_epochs=1)
    lease = acquire(handle.database, trial_id, Owner.current())
    assert lease is not None
    (attempt,) = read_attempts(handle.database, [trial_id])
    assert (attempt.owner, attempt.ending) == (Owner.current(), None)
    end(handle.database, lease, "complete")
    assert read_attempts(handle.database, [trial_id])[0].ending == "complete"
    assert read_attempts(handle.database, []) == []


def test_timeline_marks_a_released_attempt() -> None:
    owners = [Owner("$host_1$", "boot", pid, "0") for pid in (1, 2)]
    attempts = [
        Attempt(7, 1, owners[0], 1000.0, 1100.0, "stopped"),
        Attempt(7, 2, owners[1], 1200.0, 8200.0, "complete"),
    ]
    figure = timeline_figure(build_timeline(attempts, {7: "complete"}))
    axes = figure.axes[0]
    assert axes.get_xlabel() == "hours since the first trial was claimed"
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([100 / 3600, 7000 / 3600])
    legend = axes.get_legend()
    assert legend is not None
    shown = [text.get_text() for text in legend.get_texts()]
    assert shown == ["released or lost", "complete"]
    assert "$host_1$, 1" in svg(figure)


def test_timeline_tells_a_pause_from_a_loss() -> None:
    owner = Owner("host", "boot", 1, "0")
    made = [
        Attempt(7, 1, owner, 0.0, 10.0, "paused"),
        Attempt(8, 1, owner, 10.0, 20.0, "lost: its host was rebooted"),
        Attempt(7, 2, owner, 20.0, 30.0, "paused"),
        Attempt(8, 2, owner, 30.0, 40.0, "paused"),
        Attempt(9, 1, owner, 40.0, 50.0, "paused"),
    ]
    bars = build_timeline(made, {7: "paused", 8: "pruned", 9: "waiting"}).bars
    shown = [bar.state for bar in bars]
    assert shown == ["paused", "released or lost", "paused", "pruned", "released or lost"]


def test_provenance_names_changed_code_and_other_versions(handle: StudyStorage) -> None:
    execution = {"device_model": "Abacus", "precision": "float32", "threads": 2}
    attributes = {"git_revision": "abc", "versions": {"torch": "9.9"}, "execution": execution}
    add_trial(handle, "pets", slot=0, state=COMPLETE, n_epochs=1, attributes=attributes)
    found = read_provenance(read_protocol(handle.database, "pets"), read_trials(handle, "pets"))
    named = dict([*found.hashes, *found.facts])
    assert named["git, at init"] == "0123abc with changes" and named["git, workers"] == "abc"
    assert named["versions, workers"] == "other: torch 9.9"
    assert named["processors and GPUs"] == "Abacus" and named["CPU threads"] == "2"
    assert found.commands.splitlines()[0] == "git checkout 0123abc"


def test_slices_mark_states_and_follow_the_scale(handle: StudyStorage) -> None:
    for slot, state in enumerate((COMPLETE, COMPLETE, PRUNED, FAIL)):
        add_trial(handle, "pets", slot=slot, state=state, n_epochs=2)
    rows = read_trials(handle, "pets")
    rate, _, blocks, *_ = read_space(handle, "pets")
    axes = slice_figure(rate, rows).axes[0]
    assert axes.get_xscale() == "log" and axes.get_xlabel() == "learning rate"
    shown = [(str(one.get_label()), len(one.get_offsets())) for one in axes.collections]
    assert shown[:3] == [("complete", 2), ("pruned", 1), ("failed", 1)]
    assert slice_figure(blocks, rows).axes[0].get_xscale() == "linear"


def test_figures_of_many_trials_become_pictures_that_stay_small(handle: StudyStorage) -> None:
    add(handle, 4, COMPLETE)
    add_trial(handle, "pets", slot=9, state=PRUNED, n_epochs=2)
    rows, space = read_trials(handle, "pets"), read_space(handle, "pets")
    few, many = (svg(parallel_figure(space, rows * n)) for n in (1, 400))
    assert few.count("<image") == 1, "the colour scale"
    assert many.count('xlink:href="data:image/png') == 2
    assert len(many) < 1_000_000


def test_pair_of_pruned_trials_alone_is_drawn(handle: StudyStorage) -> None:
    add(handle, 3, PRUNED, n_epochs=2)
    x, y, *_ = read_space(handle, "pets")
    axes = pair_figure(x, y, read_trials(handle, "pets")).axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert [len(one.get_offsets()) for one in axes.collections] == [0, 3]


@given(st.lists(st.text(max_size=30), min_size=1, max_size=20, unique=True))
def test_any_choices_have_a_place_each(choices: list[str]) -> None:
    (one,) = merge_spaces([{"x": CategoricalDistribution(choices)}])
    assert [one.position(choice) for choice in choices] == list(range(len(choices)))


def test_importances_are_drawn_with_the_greatest_on_top() -> None:
    axes = importance_figure({"learning_rate": 0.75, "dropout": 0.25}).axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["dropout", "learning rate"]


@pytest.mark.parametrize("noted", [{AUDITED: 3}, {}])
def test_report_says_what_the_audit_of_pruning_found(
    handle: StudyStorage, tmp_path: Path, noted: dict[str, object]
) -> None:
    reason = {"reason": {"kind": "pruned", "message": "the pruner gave up"}}
    add_trial(handle, "pets", slot=0, state=COMPLETE, n_epochs=N_EPOCHS, best=0.5)
    add_trial(
        handle, "pets", slot=1, state=COMPLETE, n_epochs=N_EPOCHS, best=0.4, attributes=noted
    )
    add_trial(handle, "pets", slot=2, state=PRUNED, n_epochs=2, best=0.3, attributes=reason)
    RunPaths(tmp_path / "runs", "pets").claim(read_protocol(handle.database, "pets").study_key)
    path = tmp_path / "report.html"
    write_report(handle, "pets", runs=tmp_path / "runs", path=path)
    for file in (path, path.with_suffix(".md")):
        text = file.read_text(encoding="utf-8").partition("Pruning audit")[2]
        if noted:
            assert "1 trial that was to be cut ran on, for 1 epoch more. It ended no" in text
            assert "Pruning saved 2 epochs." in text
        else:
            assert not text
