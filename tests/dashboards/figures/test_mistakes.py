"""Pictures of mistakes, written and read back."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.errors import DashboardError
from dashboards.figures.base import svg
from dashboards.figures.mistakes import (
    PicturedMistake,
    load_mistakes,
    mistakes_figure,
    save_mistakes,
)

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def mistake(index: int, true_class: str, predicted_class: str) -> PicturedMistake:
    pixels = np.random.default_rng(index).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return PicturedMistake(index, true_class, predicted_class, 1 / (index + 1), pixels, true_class)


@given(names=st.lists(st.tuples(NAMES, NAMES), max_size=4))
def test_mistakes_come_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, names: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("mistakes") / "mistakes.json"
    written = [mistake(index, *pair) for index, pair in enumerate(names)]
    save_mistakes(path, written)
    read = load_mistakes(path)
    assert len(read) == len(written)
    for one, other in zip(read, written, strict=True):
        assert (one.index, one.file, one.true_class, one.predicted_class, one.probability) == (
            other.index,
            other.file,
            other.true_class,
            other.predicted_class,
            other.probability,
        )
        assert np.array_equal(one.picture, other.picture)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[1]",
        b"[" * 100_000,
        b'[{"index": 0}]',
        b'[{"index": 0, "true_class": "a", "predicted_class": "b", "probability": 0.5, '
        b'"png": "aGVsbG8="}]',
    ],
)
def test_damaged_mistakes_are_rejected(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mistakes.json").write_bytes(content)
    with pytest.raises(DashboardError, match="restore it, or remove it"):
        load_mistakes(tmp_path / "mistakes.json")


def test_figure_of_mistakes_shows_names_as_text() -> None:
    drawn = svg(mistakes_figure([mistake(0, "<b>&", "$dog_1$"), mistake(1, "cat", "x" * 40)]))
    assert "&lt;b&gt;&amp;" in drawn and "$dog_1$" in drawn and "<b>" not in drawn
    assert "as " + "x" * 17 + "…" in drawn
