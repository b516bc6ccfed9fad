"""Axes of the search's figures, measured as they are drawn."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg

from dashboards.analysis.search_space import Hyperparameter
from dashboards.figures.search import pair_figure, slice_figure
from tests.dashboards.statuses import build_row


@pytest.mark.filterwarnings("ignore:constrained_layout not applied")
@settings(max_examples=20)
@given(low=st.floats(1e-6, 0.1), ratio=st.floats(1.01, 1e6), is_pair=st.booleans())
def test_logarithmic_axis_has_labels_that_do_not_run_into_each_other(
    low: float, ratio: float, is_pair: bool
) -> None:
    rate = Hyperparameter("rate", 1e-6, 1e6, is_log=True)
    rows = [
        build_row(0, value=0.5, params={"rate": value, "decay": value})
        for value in (low, low * ratio)
    ]
    decay = Hyperparameter("decay", 1e-6, 1e6, is_log=True)
    figure = pair_figure(rate, decay, rows) if is_pair else slice_figure(rate, rows)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    axis = figure.axes[0].xaxis
    assert not any(label.get_text() for label in axis.get_minorticklabels())
    beginning, ending = axis.get_view_interval()
    shown = [
        tick.label1.get_window_extent(canvas.get_renderer())
        for tick in axis.get_major_ticks()
        if beginning <= tick.get_loc() <= ending
    ]
    assert len(shown) > 1
    for left, right in zip(shown, shown[1:], strict=False):
        assert left.x1 < right.x0, (low, ratio)
