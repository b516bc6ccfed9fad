"""What is said of given points: groups, differences, heat map, figures."""

import math
import statistics
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example as case
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console
from scipy.stats import ttest_ind

from dashboards.analysis.comparison import (
    Variant,
    compare_variants,
    comparison_table,
    is_comparison,
    rank_variants,
    read_variants,
    remarks,
)
from dashboards.analysis.grid import read_grid
from dashboards.figures.comparison import comparison_figure, heat_map_figure, write_figures
from storage.run_paths import RunPaths
from storage.trial_rows import TrialRow
from tests.dashboards.conftest import build_record
from tests.dashboards.statuses import build_row

RATE, DECAY = "optimization.learning_rate", "optimization.weight_decay"


def row(slot: int, value: float | None, label: str | None = None, **params: object) -> TrialRow:
    attributes = {} if label is None else {"label": label}
    if value is None:
        reason = {"kind": "diverged", "message": "nan"}
        return build_row(slot, state="pruned", params=params, reason=reason, attributes=attributes)
    best, curve = build_record(2, value), (value / 2, value)
    return build_row(
        slot, value=value, params=params, attributes=attributes, best=best, curve=curve
    )


def repeated(label: str, scores: list[float], first_slot: int = 0) -> Variant:
    rows = [row(first_slot + i, score, label, seed=i) for i, score in enumerate(scores)]
    return Variant(label, {}, tuple(rows))


WITHIN = "within the seeds' spread"
SCORES = st.lists(st.integers(0, 1000).map(lambda n: n / 1000), min_size=1, max_size=5)


@given(SCORES, SCORES)
@case([0.003] * 2, [0.003] * 3)
def test_difference_is_clear_where_welchs_test_says_so(
    first: list[float], second: list[float]
) -> None:
    base, other = repeated("base", first), repeated("other", second)
    _, compared = compare_variants([base, other])
    assert compared.difference == pytest.approx(statistics.fmean(second) - statistics.fmean(first))
    if min(len(first), len(second)) == 1:
        assert compared.verdict == "one seed: spread unknown"
        return
    if len({*first}) == len({*second}) == 1:
        assert compared.verdict == ("clear" if first[0] != second[0] else WITHIN)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # nearly equal scores lose digits there
        p_value = ttest_ind(second, first, equal_var=False).pvalue
    if not math.isclose(p_value, 0.05, rel_tol=1e-3):
        assert compared.verdict == ("clear" if p_value < 0.05 else WITHIN)


def test_difference_that_is_clear_alone_is_not_among_many() -> None:
    base = repeated("base", [0.50, 0.51, 0.52])
    better = repeated("better", [0.53, 0.54, 0.55], 3)
    equal = [repeated(f"equal {n}", [0.50, 0.51, 0.52], 6 + 3 * n) for n in range(3)]
    unrepeated = repeated("once", [0.9], 15)
    alone = compare_variants([base, better])[1]
    assert alone.p_value == pytest.approx(0.0213, abs=1e-4) and alone.verdict == "clear"
    among = compare_variants([base, *equal, better, unrepeated])
    assert [one.variant.label for one in among[:3]] == ["base", "once", "better"]
    assert among[1].p_value is None and among[1].verdict == "one seed: spread unknown"
    assert among[2].p_value == pytest.approx(4 * alone.p_value) and among[2].verdict == WITHIN
    lines = remarks([base, *equal, better, unrepeated])
    assert lines[1] == f"better: +0.0300 to base, {WITHIN} (p 0.085)"
    assert "Holm's correction" in lines[-1]


def test_runs_of_one_point_are_one_variant_and_the_first_is_the_base() -> None:
    rows = [
        row(3, 0.7, "adam", seed=2, **{RATE: 0.001}),
        row(0, 0.4, "plain", seed=1, **{RATE: 0.1}),
        row(2, 0.5, "plain", seed=2, **{RATE: 0.1}),
        row(1, None, "adam", seed=1, **{RATE: 0.001}),
    ]
    base, adam = read_variants(rows)
    assert (base.label, base.mean, base.settings) == ("plain", pytest.approx(0.45), {RATE: 0.1})
    assert (adam.label, adam.scores, adam.spread) == ("adam", [0.7], None)
    assert base.curve == pytest.approx([0.225, 0.45])
    lines = remarks([base, adam])
    assert lines[0] == "adam: +0.2500 to plain, one seed: spread unknown"
    assert "Welch" in lines[1]


def test_points_without_labels_are_named_by_what_sets_them_apart() -> None:
    rows = [
        row(0, 0.4, **{RATE: 0.1, DECAY: 0.0}),
        row(1, 0.5, **{RATE: 0.1, DECAY: 1e-4}),
    ]
    variants = read_variants(rows)
    assert [variant.label for variant in variants] == ["base", "weight decay 0.0001"]
    close = read_variants([row(n, 0.4, **{RATE: 0.1 + n / 10_000}) for n in range(3)])
    assert [one.label for one in close] == ["base", "learning rate 0.1001", "learning rate 0.1002"]
    assert not is_comparison(variants)
    assert remarks(variants) == [
        "One seed each: the spread is unknown, so no difference can be told from chance."
    ]


def test_comparison_table_fits_80_columns_with_the_base_first() -> None:
    variants = [
        repeated("base", [0.5, 0.52]),
        repeated("weight decay high (0.0005)", [0.3, 0.31], 2),
        repeated("[bold]markup", [0.6, 0.61], 4),
    ]
    console = Console(width=80, force_terminal=False)
    with console.capture() as capture:
        console.print(comparison_table(variants))
    lines = capture.get().splitlines()
    assert max(map(len, lines)) <= 80
    assert [variant.label for variant in rank_variants(variants)][:2] == ["base", "[bold]markup"]
    assert "+0.0950" in capture.get() and "[bold]markup" in capture.get()


def grid_rows() -> list[TrialRow]:
    points = [(rate, decay) for rate in (0.1, 0.001, 0.01) for decay in (0.0, 1e-4)]
    return [
        row(slot, None if slot == 3 else slot / 10, **{RATE: rate, DECAY: decay})
        for slot, (rate, decay) in enumerate(points)
    ]


def test_grid_has_its_values_in_order_and_says_why_a_score_is_missing() -> None:
    grid = read_grid(read_variants(grid_rows()))
    assert grid is not None
    assert (grid.x_values, grid.y_values) == ([0.001, 0.01, 0.1], [0.0, 1e-4])
    np.testing.assert_equal(grid.scores_YX, [[0.2, 0.4, 0.0], [np.nan, 0.5, 0.1]])
    texts = [text.get_text() for text in heat_map_figure(grid).axes[0].texts]
    assert texts == ["0.200", "0.400", "0.000", "diverged", "0.500", "0.100"]


def test_points_that_fill_no_grid_of_two_axes_have_none() -> None:
    rows = grid_rows()
    assert read_grid(read_variants(rows[:5])) is None
    assert read_grid(read_variants(rows[:2])) is None
    assert read_grid([]) is None


def test_figures_lie_in_the_run_folder_with_an_svg_beside_each(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path, "some")
    assert write_figures(read_variants(grid_rows()), paths) == [paths.heat_map]
    variants = [repeated("base", [0.5, 0.52]), repeated("$x_1$", [0.3, 0.4], 2)]
    assert write_figures(variants, paths) == [paths.comparison]
    for picture in (paths.heat_map, paths.comparison):
        with Image.open(picture) as image:
            assert image.size[0] > 300
        assert picture.with_suffix(".svg").read_text().startswith("<svg")


def test_comparison_of_many_points_tells_every_line_apart() -> None:
    variants = [repeated(f"_{i}", [i / 20, i / 20], 2 * i) for i in range(15)]
    figure = comparison_figure(variants)
    lines = figure.axes[0].lines
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 15
    assert len(figure.legends[0].get_texts()) == 15
