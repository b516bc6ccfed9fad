"""A file of predictions is written whole or not at all."""

from pathlib import Path

import pytest

from data.sources.given_pictures import GivenPictures
from storage.run_folders import mark_runs
from study.errors import StudyError
from study.prediction.output import OutputError, choose_format, reject_unwritable, writing_to
from study.prediction.rows import Format
from tests.tools.unprivileged import unprivileged


@pytest.mark.parametrize(
    ("kind", "out", "expected"),
    [
        (None, "a.csv", "csv"),
        (None, "a.JSONL", "jsonl"),
        (None, None, "csv"),  # nobody watches
        ("table", None, "table"),
        ("table", "a.csv", "table"),
        ("csv", "a.txt", "csv"),
    ],
)
def test_format_follows_option_then_ending(
    kind: Format | None, out: str | None, expected: Format
) -> None:
    assert choose_format(kind, Path(out) if out else None) == expected


def test_ending_that_says_no_format_is_rejected() -> None:
    with pytest.raises(StudyError, match=r"--out must end in .csv or .jsonl, 'a.txt' does not"):
        choose_format(None, Path("a.txt"))


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_error_leaves_the_old_file_and_no_half_one(
    tmp_path: Path, error: type[BaseException]
) -> None:
    out = tmp_path / "out.csv"
    out.write_text("old")
    with pytest.raises(error), writing_to(out) as write:
        write("half")
        assert len(list(tmp_path.iterdir())) == 2
        raise error
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
    assert out.read_text() == "old"
    with writing_to(out) as write:
        write("néw")
    assert out.read_text(encoding="utf-8") == "néw"


def test_link_keeps_leading_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "link.csv").symlink_to("out.csv")
    with writing_to(tmp_path / "link.csv") as write:
        write("new")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "out.csv").read_text() == "new"


def test_full_disk_is_one_line(tmp_path: Path) -> None:
    def write_much() -> None:
        with writing_to(tmp_path / "out.csv"):
            raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match="No space left on device"):
        write_much()
    assert OutputError.exit_code == 1
    assert list(tmp_path.iterdir()) == []


def rejection(out: Path, *given: GivenPictures) -> str:
    with pytest.raises(StudyError) as caught:
        reject_unwritable(out, given)
    return str(caught.value)


def test_file_that_cannot_be_written_is_rejected_first(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    assert "must lie in a folder that exists" in rejection(tmp_path / "away" / "out.csv")
    assert "must be a file" in rejection(Path("/dev/null"))
    assert "must be a file" in rejection(tmp_path)
    assert "folder that can be written" in unprivileged(lambda: rejection(tmp_path / "a.csv"))
    reject_unwritable(Path("out.csv"), [])


def test_file_of_something_else_is_never_replaced(tmp_path: Path) -> None:
    study = tmp_path / "runs" / "study"
    mark_runs(study)
    for name in ("1.csv", "2.png", "study.db", "old.csv", "runs/study/predictions.csv"):
        (tmp_path / name).touch()
    (tmp_path / "link.csv").symlink_to("study.db")
    given = GivenPictures((str(tmp_path / "1.csv"),))
    for name in ("1.csv", "2.png", "study.db", "link.csv"):
        assert "must be new, or replace a file that ends in .csv" in rejection(
            tmp_path / name, given
        )
    assert "outside the run folders of studies" in rejection(study / "predictions.csv")
    assert "outside the run folders of studies" in rejection(study / "new.csv")
    reject_unwritable(tmp_path / "old.csv", [given])
    reject_unwritable(tmp_path / "new.txt", [given])
    reject_unwritable(tmp_path / "runs" / "new.csv", [given])
