from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from dashboards.optuna_dashboard.curve_picture import (
    BOTTOM,
    LEFT,
    MOST_TICKS,
    RIGHT,
    TOP,
    curve_svg,
)

SVG = "{http://www.w3.org/2000/svg}"
SCORES = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=400)


@given(SCORES)
def test_curve_of_any_run_is_whole_and_stays_within_its_axes(
    scores: list[tuple[float, float]],
) -> None:
    train, validation = zip(*scores, strict=True)
    picture = ElementTree.fromstring(curve_svg(train, validation))
    for line, values in zip(picture.iter(f"{SVG}polyline"), (train, validation), strict=True):
        points = [tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()]
        assert len(points) == len(values)
        for x, y in points:
            assert LEFT <= x <= RIGHT and TOP - 0.1 <= y <= BOTTOM + 0.1
    (circle,) = picture.iter(f"{SVG}circle")
    assert float(circle.attrib["cy"]) <= min(y for _, y in points) + 0.1
    texts = [text.text or "" for text in picture.iter(f"{SVG}text")]
    assert (
        f"validation, best {max(validation):.4f} in epoch {1 + validation.index(max(validation))}"
        in texts
    )
    assert len([text for text in texts if text.replace(".", "").isdecimal()]) <= 2 * MOST_TICKS + 2


def test_equal_runs_give_equal_pictures() -> None:
    assert curve_svg([0.1, 0.2], [0.3, 0.25]) == curve_svg([0.1, 0.2], [0.3, 0.25])
