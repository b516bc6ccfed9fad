"""What plotly gets of a search: every point knows its trial, and nothing in it is markup."""

import json
from dataclasses import replace

import pytest

from dashboards.analysis.search_space import Hyperparameter
from dashboards.figures.live import (
    MOST_POINTS,
    label_trials,
    live_curves,
    live_history,
    live_slice,
    sample_curves,
)
from dashboards.figures.live_shapes import live_parallel, live_timeline
from dashboards.figures.palette import BEST
from dashboards.figures.timeline import build_timeline
from storage.attempts import Attempt
from storage.process_identity import Owner
from storage.trial_rows import TrialRow
from tests.dashboards.statuses import build_row

RATE = Hyperparameter("learning_rate", 1e-3, 1.0, is_log=True)
KIND = Hyperparameter("kind", float("nan"), float("nan"), choices=("a", "<b>"))


def row(number: int, state: str, value: float) -> TrialRow:
    built = build_row(number, value=value, params={"learning_rate": 0.1, "kind": "<b>"})
    return replace(built, state=state, curve=(value / 2, value))


ROWS = [row(0, "complete", 0.4), row(1, "pruned", 0.2), row(2, "complete", 0.6)]


def test_every_point_of_a_curve_belongs_to_its_trial() -> None:
    figure = live_curves(ROWS)
    found = {trace["name"]: trace for trace in figure["data"]}
    assert list(found) == ["pruned", "other trials", "trial 2, the best"]
    assert found["trial 2, the best"]["customdata"] == [2, 2, None]
    assert found["trial 2, the best"]["y"] == [0.3, 0.6, None]
    assert found["trial 2, the best"]["line"]["color"] == BEST
    labels = label_trials([*ROWS, row(3, "complete", 0.1)], [figure])
    assert list(labels) == [0, 1, 2]
    assert labels[1].startswith("<b>trial 1</b>, pruned, 0.2000<br>learning rate 0.1")
    assert labels[1].endswith("kind &lt;b&gt;")


def test_history_has_the_best_so_far_of_all_trials_beside_those_drawn() -> None:
    best, *_ = live_history(ROWS, ROWS[1:])["data"]
    assert (best["x"], best["y"]) == ([0, 2, 2], [0.4, 0.6, 0.6])


def test_slice_over_choices_names_them_and_rings_the_best() -> None:
    figure = live_slice(KIND, ROWS)
    assert figure["layout"]["xaxis"]["ticktext"] == ["a", "&lt;b&gt;"]
    assert figure["data"][-1]["x"] == [1.0] and figure["data"][-1]["marker"]["color"] == BEST


def test_parallel_lines_cross_every_axis_and_have_a_colour_scale() -> None:
    figure = live_parallel([RATE, KIND], ROWS)
    assert [column["label"] for column in figure["columns"]] == [
        "learning rate",
        "kind",
        "macro-F1",
    ]
    lines = {trace.get("name"): trace for trace in figure["data"]}
    assert lines["trial 2, the best"]["y"] == [pytest.approx(2 / 3, abs=1e-4), 1.0, 1.0, None]
    assert figure["data"][-1]["marker"]["showscale"]


def test_timeline_bar_knows_its_trial() -> None:
    owner = Owner("host", "boot", 1, "0")
    timeline = build_timeline([Attempt(7, 1, owner, 10.0, 40.0, "complete")], {7: "complete"})
    (bars,) = live_timeline(timeline, {7: 3})["data"]
    assert (bars["customdata"], bars["base"], bars["x"]) == ([3], [0.0], [30.0])


def test_curves_of_a_thousand_trials_stay_few_points() -> None:
    many = [
        replace(row(number, "complete", number / 1000), curve=(0.1,) * 100)
        for number in range(1000)
    ]
    drawn = sample_curves(many)
    assert sum(len(one.curve) for one in drawn) <= MOST_POINTS and many[-1] in drawn
    assert len(json.dumps(live_curves(drawn))) < 1_000_000
