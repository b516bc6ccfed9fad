from collections import Counter
from pathlib import Path
from typing import Any

from study.configuration.config import validated
from study.creation.create import initialise
from tests.study.conftest import Call


def test_report_writes_figures_and_tables_where_it_is_told(
    tiny_settings: dict[str, Any], call: Call, tmp_path: Path, n_opened: Counter[str]
) -> None:
    initialise(validated(tiny_settings)).location.close()
    place = tiny_settings["storage"]
    figures, tables = tmp_path / "papers" / "figures", tmp_path / "tables"
    ended = call(
        *("report", "--storage", place["url"], "--runs", place["runs"]),
        *("--figures", str(figures), "--tables", str(tables)),
    )
    assert ended.code == 0, ended.err
    names = {f"classes-of-{split}" for split in ("train", "validation", "confirmation", "test")}
    assert {path.name for path in figures.iterdir()} == {
        f"{name}{suffix}" for name in names for suffix in (".svg", ".pdf")
    }
    assert ended.out.splitlines()[1:] == [
        f"8 files in {figures}: figures as SVG and PDF",
        f"0 files in {tables}: tables as CSV and LaTeX",
    ]
    assert set(n_opened) == {"train"}


def test_report_counts_each_kind_of_a_common_folder(
    tiny_settings: dict[str, Any], call: Call, tmp_path: Path
) -> None:
    initialise(validated(tiny_settings)).location.close()
    place, folder = tiny_settings["storage"], str(tmp_path / "papers")
    ended = call(
        *("report", "--storage", place["url"], "--runs", place["runs"]),
        *("--figures", folder, "--tables", folder),
    )
    assert ended.out.splitlines()[1:] == [
        f"8 files in {folder}: figures as SVG and PDF",
        f"0 files in {folder}: tables as CSV and LaTeX",
    ]


def test_report_rejects_a_file_in_the_place_of_a_folder(call: Call, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = call("report", "--figures", str(tmp_path / "file"))
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "--figures" in ended.err and "is a file" in ended.err


def test_report_is_written_where_out_says_and_not_in_the_run_folder(
    tiny_settings: dict[str, Any], call: Call, tmp_path: Path
) -> None:
    session = initialise(validated(tiny_settings))
    session.location.close()
    place, out = tiny_settings["storage"], tmp_path / "mine" / "tiny.html"
    location = ("--storage", place["url"], "--runs", place["runs"])
    ended = call("report", *location, "--out", str(out))
    assert ended.code == 0, ended.err
    assert ended.out.splitlines() == [f"the report is {out}, its summary tiny.md"]
    assert out.exists() and out.with_suffix(".md").exists()
    assert not session.paths.report.exists()
    ended = call("report", *location, "--out", str(out.with_suffix(".pdf")))
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "--out must end in .html" in ended.err
