"""Figures, looked at through what was drawn and the files they give."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from dashboards.analysis.confusion import load_confusion_csv, save_confusion_csv
from dashboards.errors import DashboardError
from dashboards.figures.base import (
    drawable_names,
    history_figure,
    learning_curves_figure,
    save_png,
    svg,
)
from dashboards.figures.confusion_matrix import confusion_matrix_figure
from dashboards.figures.palette import BEST, LINES, SCORE_STOPS, STATES
from dashboards.figures.split_curves import split_curves_figure
from storage.study_storage import StudyStorage
from storage.trial_rows import best_complete, read_trials

NAMES = ["cat", "</text><script>alert(1)</script>", "$dog_1$", 'a,b\n"c"', "ä" * 40]


@pytest.fixture
def confusion() -> np.ndarray:
    return np.diag([9, 8, 7, 6, 0]) + np.eye(5, k=1, dtype=np.int64)


def test_confusion_figure_of_few_classes_names_and_counts_them(confusion: np.ndarray) -> None:
    figure = confusion_matrix_figure(confusion, NAMES)
    axes = figure.axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[0] == "cat" and labels[2] == "$dog_1$"
    assert len(labels[4]) == 18 and labels[4].endswith("…")
    assert len(axes.texts) == np.count_nonzero(confusion)


def test_confusion_figure_of_200_classes_numbers_them() -> None:
    figure = confusion_matrix_figure(np.eye(200, dtype=np.int64), [f"n{n:08}" for n in range(200)])
    axes = figure.axes[0]
    assert axes.get_xlabel() == "predicted class, by number"
    assert len(axes.get_xticks()) < 20 and not axes.texts


def test_confusion_figure_of_many_classes_shows_a_single_mistake_in_a_small_drawing() -> None:
    confusion = 49 * np.eye(1000, dtype=np.int64) + np.eye(1000, k=3, dtype=np.int64)
    figure = confusion_matrix_figure(confusion, [str(n) for n in range(1000)])
    (image,) = figure.axes[0].get_images()
    one = image.to_rgba(np.array([[1 / 50, 0.0]]))[0, :, 3]
    assert one[0] > 0.3 and one[1] == 0
    assert len(svg(figure)) < 200_000


def test_confusion_figure_in_another_order_moves_rows_columns_and_numbers() -> None:
    confusion = np.random.default_rng(0).integers(0, 9, (60, 60))
    order = np.random.default_rng(1).permutation(60)
    axes = confusion_matrix_figure(confusion, [str(n) for n in range(60)], order=order).axes[0]
    shares = confusion / confusion.sum(axis=1, keepdims=True)
    (image,) = axes.get_images()
    assert np.allclose(np.asarray(image.get_array()), shares[order][:, order])
    places = [int(place) for place in axes.get_xticks()]
    labels = [int(label.get_text()) for label in axes.get_xticklabels()]
    assert labels == [order[place] for place in places]


def test_confusion_figure_shows_shares_of_each_true_class(confusion: np.ndarray) -> None:
    (image,) = confusion_matrix_figure(confusion, NAMES).axes[0].get_images()
    shares = np.asarray(image.get_array())
    assert shares[0, 0] == pytest.approx(0.9) and shares[4].sum() == 0


def test_svg_of_hostile_class_names_is_sound_and_has_no_script(confusion: np.ndarray) -> None:
    root = ElementTree.fromstring(svg(confusion_matrix_figure(confusion, NAMES)))
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert "text" in tags and "script" not in tags
    assert "$dog_1$" in "".join(root.itertext())


def test_names_that_the_font_lacks_are_kept_in_svg_and_numbers_in_png(tmp_path: Path) -> None:
    names = ["Käfer", "中文", "a\tb\x1b[31m", "\uffff"]
    confusion = np.eye(4, dtype=np.int64)
    root = ElementTree.fromstring(svg(confusion_matrix_figure(confusion, names)))
    written = [text.strip() for text in root.itertext()]
    assert {"Käfer", "中文", r"a\tb\x1b[31m", r"\uffff"} <= set(written)
    shown = drawable_names(names)
    assert shown == ["Käfer", "class 1", *names[2:]]
    save_png(confusion_matrix_figure(confusion, shown), tmp_path / "confusion.png")
    save_png(confusion_matrix_figure(confusion, names), tmp_path / "boxes.png")


def test_svg_follows_the_page_colour_and_is_the_same_twice(searched_study: StudyStorage) -> None:
    rows = read_trials(searched_study, "pets")
    first, second = (svg(learning_curves_figure(rows)) for _ in range(2))
    assert first == second
    assert "currentColor" in first and "#1f2328" not in first


def test_learning_curves_dash_only_pruned_trials_and_name_each_kind_once(
    searched_study: StudyStorage,
) -> None:
    rows = [row for row in read_trials(searched_study, "pets") if row.curve]
    axes = learning_curves_figure(rows).axes[0]
    assert [line.get_linestyle() for line in axes.lines] == ["-", "-", "--", "-"]
    legend = axes.get_legend()
    assert legend is not None
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["other trials", "trial 1, the best", "pruned"]


def test_history_of_a_study_marks_states_and_best_so_far(searched_study: StudyStorage) -> None:
    axes = history_figure(read_trials(searched_study, "pets")).axes[0]
    shown = {str(points.get_label()): len(points.get_offsets()) for points in axes.collections}
    assert shown == {"complete": 2, "pruned": 1, "running": 1}
    assert list(axes.lines[0].get_ydata()) == [0.4, 0.61]


def test_orange_is_the_best_and_nothing_else(searched_study: StudyStorage) -> None:
    rows = read_trials(searched_study, "pets")
    best = best_complete(rows)
    assert best is not None
    lines = learning_curves_figure(rows).axes[0].lines
    named = [str(line.get_label()) for line in lines if line.get_color() == BEST]
    assert named == [f"trial {best.number}, the best"]
    (step,) = history_figure(rows).axes[0].lines
    assert (step.get_color(), step.get_label()) == (BEST, "best so far")
    curves = split_curves_figure([1.0, 0.5], [1.1, 0.6]).axes[0].lines
    assert BEST not in [line.get_color() for line in curves]
    assert BEST not in (*STATES.values(), *LINES, *SCORE_STOPS)


def test_history_without_values_is_empty_but_labelled() -> None:
    axes = history_figure([]).axes[0]
    assert axes.get_xlabel() == "trial" and axes.get_legend() is None


def test_save_png_writes_a_picture_on_white(tmp_path: Path, confusion: np.ndarray) -> None:
    path = tmp_path / "new" / "confusion.png"
    save_png(confusion_matrix_figure(confusion, NAMES), path)
    with Image.open(path) as picture:
        assert min(picture.size) > 500
        assert picture.convert("RGBA").getpixel((0, 0)) == (255, 255, 255, 255)


def test_confusion_csv_of_odd_names_reads_back_equal(
    tmp_path: Path, confusion: np.ndarray
) -> None:
    path = tmp_path / "final" / "confusion_matrix.csv"
    save_confusion_csv(path, confusion, NAMES)
    found, names = load_confusion_csv(path)
    assert names == NAMES
    np.testing.assert_array_equal(found, confusion)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"true class,a,b\na,1,2\n",
        b"true class,a\na,one\n",
        b"true class,a\nb,1\n",
        b"true class,a\na,0\n",
        b"true class,a\na,-1\n",
        b"true class,a\na,99999999999999999999\n",
        b"true class,a\na,\xff\n",
        b"true class\n",
        b"\n\n",
    ],
)
def test_load_confusion_csv_of_another_table_is_rejected(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "confusion_matrix.csv"
    path.write_bytes(content)
    with pytest.raises(DashboardError, match="must be a square table"):
        load_confusion_csv(path)
