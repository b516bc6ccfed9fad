"""The strip plot of a confirmation."""

from dashboards.figures.base import svg
from dashboards.figures.confirmation import Strip, strip_figure
from dashboards.figures.palette import BEST, MEASURED

SELECTION = [
    Strip("trial 7", (0.55, 0.57), 0.61, is_best=True),
    Strip("<b>$x_1$", (0.5,), 0.6, is_best=False),
]
JUDGED = [
    Strip("trial 7", (0.54, 0.56, 0.55), None, is_best=True),
    Strip("default", (0.4, 0.41, 0.42), None, is_best=False),
]


def test_every_seed_is_a_point_and_each_setting_a_row() -> None:
    figure = strip_figure([("search", SELECTION), ("confirmation images", JUDGED)])
    (axes,) = figure.axes
    rows = [text.get_text() for text in axes.get_yticklabels()]
    assert rows == ["trial 7", "<b>$x_1$", "trial 7", "default"]
    points = [
        (one.get_label(), [tuple(place) for place in one.get_offsets().tolist()])
        for one in axes.collections
        if len(one.get_offsets())
    ]
    assert ("fresh seed, recommended", [(0.55, 1.0), (0.57, 1.0)]) in points
    assert ("score in the search", [(0.61, 1.0)]) in points
    assert ("fresh seed", [(0.4, 5.0), (0.41, 5.0), (0.42, 5.0)]) in points
    assert sum(label == "score in the search" for label, _ in points) == 2
    names = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert sorted(names) == [
        "fresh seed",
        "fresh seed, recommended",
        "mean",
        "score in the search",
    ]
    drawn = svg(figure)
    assert BEST in drawn and MEASURED in drawn and "<b>" not in drawn


def test_stage_without_settings_has_no_rows() -> None:
    figure = strip_figure([("search", SELECTION), ("confirmation images", [])])
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["search"]
    assert len(figure.axes[0].get_yticks()) == 2


def test_row_of_a_setting_without_a_score_yet_stays_empty() -> None:
    figure = strip_figure([("search", [*SELECTION, Strip("trial 9", (), None, is_best=False)])])
    assert len(figure.axes[0].get_yticks()) == 3
    assert svg(figure).startswith("<svg")
