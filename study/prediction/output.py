"""Where predictions go: a file that is written whole or not at all, or the standard output."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from data.sources.folder_walk import readable
from data.sources.given_pictures import GivenPictures
from storage.atomic_files import replacing_file
from storage.run_folders import lies_in_runs
from study.errors import StudyError
from study.prediction.rows import Format
from study.progress import is_terminal

FORMAT_OF_ENDING: dict[str, Format] = {".csv": "csv", ".jsonl": "jsonl"}


class OutputError(StudyError):
    """The file of the predictions cannot be written: the disk is full, or a mount is lost."""

    exit_code = 1


def choose_format(kind: Format | None, out: Path | None) -> Format:
    """Return the format that is asked for, or that suits where predictions go.

    Raises:
        StudyError: If the ending of the file says no format, and nothing else does.
    """
    if kind is not None:
        return kind
    if out is None:
        return "table" if is_terminal() else "csv"
    if out.suffix.lower() not in FORMAT_OF_ENDING:
        raise StudyError(
            f"--out must end in {' or '.join(FORMAT_OF_ENDING)}, '{readable(out)}' does not: "
            "rename it, or add --format"
        )
    return FORMAT_OF_ENDING[out.suffix.lower()]


def reject_unwritable(out: Path, given: Iterable[GivenPictures]) -> None:
    """Reject a file that could not or must not be replaced, before anything is computed.

    Args:
        out: The file.
        given: The pictures that are read.

    Raises:
        StudyError: If its folder is missing or cannot be written, if it is no file, or is one
            of something else: a picture, a file of a study, or of another ending.
    """
    shown = f"'{readable(out)}'"
    if not out.parent.is_dir():
        raise StudyError(f"--out must lie in a folder that exists, {shown} does not: create it")
    if out.exists() and not out.is_file():
        raise StudyError(f"--out must be a file, {shown} is none: give another name")
    real = os.path.realpath(out)
    is_read = any(os.path.realpath(path) == real for pictures in given for path in pictures.paths)
    is_other = out.exists() and Path(real).suffix.lower() not in FORMAT_OF_ENDING
    if is_read or is_other:
        kinds = " or ".join(FORMAT_OF_ENDING)
        raise StudyError(
            f"--out must be new, or replace a file that ends in {kinds}, {shown} is none of "
            "these: give another name"
        )
    if lies_in_runs(out):
        raise StudyError(
            f"--out must lie outside the run folders of studies, {shown} lies in one: give "
            "another folder"
        )
    if not os.access(out.parent, os.W_OK):
        raise StudyError(
            f"--out must lie in a folder that can be written, {shown} does not: repair the "
            "rights, or give another folder"
        )


@contextmanager
def writing_to(out: Path | None) -> Iterator[Callable[[str], None]]:
    """Give a function that writes text; a file gets its name when the context ends well.

    Args:
        out: The file; None: the standard output.

    Raises:
        OutputError: If the file cannot be written; no half one stays.
    """
    if out is None:
        yield _print
        return
    try:
        # A link leads to the file that is replaced, as where one is simply written.
        with replacing_file(out.resolve()) as file:
            yield lambda text: _write(file.write, text)
    except OSError as error:
        raise OutputError(
            f"--out must have room and be writable, '{readable(out)}' cannot be written "
            f"({error.strerror or error}): free space, or give another file"
        ) from None


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _write(write: Callable[[bytes], int], text: str) -> None:
    write(text.encode())
