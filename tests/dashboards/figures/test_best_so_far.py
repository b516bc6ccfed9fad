"""Studies drawn together are told apart, and none has the colour of the best."""

from dashboards.figures.best_so_far import best_so_far_figure
from dashboards.figures.palette import BEST, LINES


def test_studies_have_lines_of_their_own_and_none_is_orange() -> None:
    curves = {f"study-{n}": [(60.0, 0.1), (120.0, 0.2)] for n in range(12)}
    (axes,) = best_so_far_figure(curves).axes
    looks = {(line.get_color(), line.get_linestyle()) for line in axes.lines}
    assert len(looks) == len(axes.lines) == 12
    assert {colour for colour, _ in looks} == set(LINES)
    assert BEST not in LINES


def test_study_of_one_trial_is_a_point_and_one_without_a_result_has_no_line() -> None:
    (axes,) = best_so_far_figure({"one": [(60.0, 0.1)], "none": []}).axes
    (line,) = axes.lines
    assert (line.get_label(), line.get_marker()) == ("one", ".")
