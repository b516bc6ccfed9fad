"""Axes of the search's figures, measured as they are drawn."""

from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg

from dashboards.hyperparameters import Hyperparameter
from dashboards.search_plots import slice_figure
from dashboards.trials import TrialRow


def complete(rate: float) -> TrialRow:
    known = {"state": "complete", "value": 0.5, "params": {"rate": rate}, "curve": ()}
    return TrialRow(**{field.name: known.get(field.name) for field in fields(TrialRow)})  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:constrained_layout not applied")
@settings(max_examples=15)
@given(low=st.floats(1e-6, 0.1), ratio=st.floats(1.8, 1e6))
def test_logarithmic_axis_has_labels_that_do_not_run_into_each_other(
    low: float, ratio: float
) -> None:
    rate = Hyperparameter("rate", 1e-6, 1e6, is_log=True)
    figure = slice_figure(rate, [complete(low), complete(low * ratio)])
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    (axis,) = (axes.xaxis for axes in figure.axes)
    assert not any(label.get_text() for label in axis.get_minorticklabels())
    beginning, ending = axis.get_view_interval()
    shown = [
        tick.label1.get_window_extent(canvas.get_renderer())
        for tick in axis.get_major_ticks()
        if beginning <= tick.get_loc() <= ending
    ]
    assert shown
    for left, right in zip(shown, shown[1:], strict=False):
        assert left.x1 < right.x0, (low, ratio)
