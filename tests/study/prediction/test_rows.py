"""Every format can be read back, and a table fits the terminal."""

import csv
import io
import json
import os
from dataclasses import replace

import pytest
from rich.cells import cell_len

from study.prediction.prediction import Prediction
from study.prediction.rows import Format, build_rows, column_names

NAMES = ('say "cat", loudly', "dog\nor wolf", "牛")
WHOLE = Prediction("a, b.png", ((NAMES[2], 0.75), (NAMES[0], 0.2), (NAMES[1], 1e-9)))
BROKEN = Prediction(os.fsdecode(b"b\xff.png"), (), 'no "picture", sorry')
COLUMNS = ["file", "predicted", "probability"]
COLUMNS += ["class_2", "probability_2", "class_3", "probability_3", "error"]


def written(kind: Format, *, n_top: int = 3, width: int = 160) -> str:
    paths = [WHOLE.file, BROKEN.file]
    rows = build_rows(kind, n_top=n_top, paths=paths, class_names=NAMES, width=width)
    whole = replace(WHOLE, ranked=WHOLE.ranked[:n_top])
    return rows.header + rows.write(whole) + rows.write(BROKEN)


def test_csv_is_read_back_with_quotes_and_line_breaks() -> None:
    header, whole, broken = csv.reader(io.StringIO(written("csv"), newline=""))
    assert header == column_names(3) == COLUMNS
    assert whole == ["a, b.png", NAMES[2], "0.75", NAMES[0], "0.2", NAMES[1], "1e-09", ""]
    assert broken == ["b\\xff.png", "", "", "", "", "", "", 'no "picture", sorry']


def test_json_lines_have_the_columns_of_csv() -> None:
    whole, broken = (json.loads(line) for line in written("jsonl").splitlines())
    assert list(whole) == list(broken) == COLUMNS
    assert [*whole.values()] == ["a, b.png", NAMES[2], 0.75, NAMES[0], 0.2, NAMES[1], 1e-9, None]
    assert [*broken.values()] == ["b\\xff.png", *[None] * 6, 'no "picture", sorry']


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_one_class_has_no_further_columns(kind: Format) -> None:
    assert "class_2" not in written(kind, n_top=1)
    assert column_names(1) == ["file", "predicted", "probability", "error"]


@pytest.mark.parametrize(("width", "n_shown"), [(160, 3), (75, 2), (10, 1)])
def test_table_shows_as_many_classes_as_fit_and_at_least_the_best(
    width: int, n_shown: int
) -> None:
    title, rule, whole, broken = written("table", width=width).splitlines()
    titles = ("predicted", "class 2", "class 3")
    assert [name in title for name in titles] == [k < n_shown for k in range(3)]
    cells = ("牛 0.750", 'say "cat", loudly 0.200', "dog\\nor wolf 0.000")
    shown = " ".join(("a, b.png", *cells[:n_shown]))
    assert " ".join(whole.split()) == shown
    assert n_shown == 1 or cell_len(rule) <= width
    assert broken == 'b\\xff.png  cannot be read: no "picture", sorry'


def test_columns_of_a_table_stand_below_each_other() -> None:
    title, _, whole, _ = written("table").splitlines()
    place = title.index("class 2")
    assert cell_len(whole[: whole.index("say")]) == place


def test_long_name_keeps_its_end() -> None:
    path = f"{'folder/' * 20}picture.png"
    rows = build_rows("table", n_top=1, paths=[path], class_names=NAMES, width=80)
    shown = rows.write(Prediction(path, (("牛", 1.0),))).split()[0]
    assert shown.startswith("…") and shown.endswith("folder/picture.png")
    assert cell_len(shown) == 60
